#!/usr/bin/env bash
# Scenarios in two hosts: runs two-sites.yaml, shaped-sites.yaml (links made in user space) and stopped-processes.yaml with
# the real programs in network namespaces, then in the simulator, and prints how each expectation came out in both.
#
#   smoke/two-sites.sh [--keep DIRECTORY]
#
# Takes about 220 s. Ends with 0 (passed), 77 (this machine can't run it) or 1; see scripts/compare-hosts.
exec "$(dirname "$0")/../scripts/compare-hosts" --strict "$@" Scenarios/two-sites.yaml Scenarios/shaped-sites.yaml \
    Scenarios/stopped-processes.yaml
