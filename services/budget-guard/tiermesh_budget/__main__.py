from tiermesh_budget.app import main

main()
