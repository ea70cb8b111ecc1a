#!/usr/bin/env bash
# One scenario, two hosts: runs Scenarios/two-sites.yaml, and shaped-sites.yaml with links made in user space, with the
# real programs in network namespaces, then in the simulator, and prints how each expectation came out in both.
#
#   smoke/two-sites.sh [--keep DIRECTORY]
#
# Takes about 140 s. Ends with 0 (passed), 77 (this machine can't run it) or 1; see scripts/compare-hosts.
exec "$(dirname "$0")/../scripts/compare-hosts" --strict "$@" Scenarios/two-sites.yaml Scenarios/shaped-sites.yaml
