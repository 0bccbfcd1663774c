from tiermesh_escalation.app import main

main()
