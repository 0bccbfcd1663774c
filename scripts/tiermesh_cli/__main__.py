from tiermesh_cli.main import main

main()
