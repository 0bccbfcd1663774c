from tiermesh_router.app import main

main()
