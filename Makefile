# Everything sets itself up: a fresh Debian 12 with make is enough. What is there already is left alone.
#
#   make demo          the whole thing on this machine, nothing of yours touched   (ARGS=--once plays it and ends)
#   make test          every check; installs the real mail servers that the tests talk to
#   make coverage      the same, and how much of each module it runs; takes twice as long
#   make test-clients  a Thunderbird without a screen, installed if need be, against the daemon
#   make soak          clients that file their own copies, 200 mails in every test of them; mailbox, server, network and
#                      kill -9 in random order, 10,000 steps; 1,000 messages into each CRM while it fails
#   make bench         figures: through proxyd as against direct
#   make fuzz          every property, tried with ever more examples for 10 minutes   (ARGS=60: for an hour)
#   make man           the manual pages, made from the commands, into build/man
#   make deb           a Debian package with all that proxyd needs: build/proxyd_VERSION_ARCH.deb
#   make test-deb      installs, runs, upgrades and purges that package in a copy of this file system (as root)
#   make test-systemd  that package under a real systemd, in namespaces of its own (as root)
#   make test-boot     that package on a Debian 12 that boots, under qemu (as root; asks for qemu-system-x86 and mmdebstrap)
#   make clean         forgets the virtual environment

.PHONY: demo test coverage test-clients soak bench fuzz man deb test-deb test-systemd test-boot clean
VENV := .venv
PROJECT := pyproject.toml tests/setup

demo: $(VENV)/ready-demo
	@$(VENV)/bin/proxyd demo $(ARGS)

test: $(VENV)/ready-test
	@tests/setup servers || true
	@tests/check $(ARGS)

coverage: $(VENV)/ready-test
	@tests/setup servers || true
	@COVERAGE=1 tests/check $(ARGS)

test-clients: $(VENV)/ready-test
	@tests/setup thunderbird
	@$(VENV)/bin/python -m pytest --durations=5 tests/clients/thunderbird $(ARGS)

soak: $(VENV)/ready-test
	@tests/setup servers
	@PROXYD_SOAK=200 $(VENV)/bin/python -m pytest --durations=5 tests/scenarios/test_uploads.py $(ARGS)
	@PROXYD_STEPS=10000 $(VENV)/bin/python -m pytest tests/watcher/test_model.py $(ARGS)
	@PROXYD_SOAK_CRM=1000 $(VENV)/bin/python -m pytest --durations=8 -k "exactly_once or killed_again" tests/crm tests/scenarios/test_crm.py $(ARGS)

bench: $(VENV)/ready-test
	@tests/setup bench
	@$(VENV)/bin/python -m tests.bench $(ARGS)

fuzz: $(VENV)/ready-test
	@$(VENV)/bin/python -m tests.fuzz $(ARGS)

man: $(VENV)/ready-test
	@$(VENV)/bin/python packaging/man.py build/man

deb:
	@packaging/deb

test-deb:
	@packaging/try-deb "$$(DEB_COMPRESSION=gzip packaging/deb)"

test-systemd:
	@packaging/try-systemd "$$(DEB_COMPRESSION=gzip packaging/deb)"

test-boot:
	@packaging/try-boot "$$(DEB_COMPRESSION=gzip packaging/deb)"

$(VENV)/ready-demo: $(PROJECT)
	@tests/setup python demo

$(VENV)/ready-test: $(PROJECT)
	@tests/setup python test

clean:
	rm -rf $(VENV)
