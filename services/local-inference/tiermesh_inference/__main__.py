from tiermesh_inference.app import main

main()
