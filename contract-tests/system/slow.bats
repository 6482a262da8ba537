#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Clients that stop reading, and clients that die in the middle: they cost the others nothing and leave nothing. LONG=1: 200 of each kind.
load helpers

setup_file() {
    need_image busybox
}

@test "clients of logs -f, attach, stats and events that stop reading: ps is answered, memory is bounded, a good client loses nothing, no descriptor stays" {
    local count=15
    [ -z "${LONG-}" ] || count=200
    only_ours "its daemon's memory and descriptors are not ours to judge"
    measured slow-clients "$ENGINE_PID" "$count"
}

@test "an attached client that does not read holds up nobody where the log keeps a file, and gets every byte later, even after the end" {
    only_ours "there the container waits for its clients with every log driver"
    for driver in json-file local syslog; do
        measured slow-attach $driver "${LONG:+5}8"
    done
}

@test "where no file is kept the container waits for an attached client that does not read" {
    only_ours "there a container that waits cannot be removed either"
    for driver in none syslog-alone; do
        measured slow-attach $driver 8
    done
}
