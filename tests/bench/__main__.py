from tests.bench.sending import main

main()
