# One line each, calling cargo or a script: the logic is there.
.PHONY: build test test-hardware test-systemd test-systemd-hybrid test-selinux demo lint install soak suites conformance bench fuzz sbom reproducible packages

# Release binaries, in target/x86_64-unknown-linux-gnu/release.
build: ; integration/prepare && cargo build --release --locked --bins

# Everything, on a fresh machine: installs what it needs, then lints, builds and tests.
test: ; integration/test

# km under kvm-amd, on a processor that QEMU emulates.
test-hardware: ; integration/hardware

# Containers that systemd makes the cgroups of, by docker and containerd, in an emulated machine.
test-systemd: ; integration/systemd
test-systemd-hybrid: ; integration/systemd hybrid

# Labels of SELinux, under a small policy in an emulated machine.
test-selinux: ; integration/selinux

# All tests of other people's programs, of which `make test` runs a third.
suites: build ; integration/suites

# Test suites of other runtimes, for runc, crun and krun: writes conformance/RESULTS.md.
conformance: build ; conformance/run

# Programs of many threads under km, 200 runs each, where `make test` makes 40.
soak: build ; integration/soak

# A deb, an rpm and an archive of the release, in target/packages.
packages: build ; integration/prepare packages && packaging/package

# What km and krun cost, beside Linux itself, runc, crun and runsc: writes docs/benchmarks.md.
bench: build ; integration/bench

# Fuzz targets, a minute each, or FUZZ_SECONDS: what reads bytes that somebody else has written.
fuzz: ; integration/prepare && integration/fuzz

# What krun, km and kontain are made of: writes target/sbom/{krun,km,kontain}.cdx.json.
sbom: ; integration/prepare && integration/sbom

# Two release builds at different paths, byte for byte the same.
reproducible: ; integration/prepare && integration/reproducible

# A container in a VM, by krun and by docker, in two minutes.
demo: ; integration/demo

# Format, clippy, documentation, dependencies, spelling, house rules.
lint: ; integration/prepare && integration/lint

# krun, km, kontain, manual pages and completions, into $(DESTDIR)/opt/kontain.
install: build ; packaging/install '$(DESTDIR)'
