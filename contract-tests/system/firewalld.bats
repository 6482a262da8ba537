#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Beside a real firewalld, which refuses what its zones do not let through: containers get out, published ports answer, networks stay apart, whoever starts
# first and whatever is reloaded. In a lab of their own, with a bus of its own. On the reference the first fails at its end: networks reach each other after
# the reload.
load helpers

setup_file() {
    local said
    said=$("$CI/firewalld" fetch 2>&1) || { skip_file "no firewalld: $said" || return 0; }
    # Where the bus will be, as the engine's namespaces see it.
    export DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/hatake-lab/firewalld/bus
    own_lab "$SUBJECT" neighbour
    need_image busybox
    outside_start
}
teardown_file() {
    [ ! -e "$BATS_FILE_TMPDIR/own-lab" ] || {
        own_lab_env
        outside_stop
        "$CI/firewalld" stop "$(folder)"
    }
    own_lab_down
}
setup() {
    begin_test
    # Each test begins with both, firewalld first, and the zones as nobody has touched them.
    [ ! -e "$BATS_FILE_TMPDIR/first" ] || return 0
    touch "$BATS_FILE_TMPDIR/first"
    "$CI/firewalld" start "$SUBJECT_NETNS" "$(folder)"
    engine_again
}

folder() { echo "/run/$OWN_LAB/$SUBJECT/firewalld"; }
zone() { "$CI/firewalld" cmd "$(folder)" "$@"; }
engine_again() { "$CI/lab" restart "$SUBJECT" >&2 3>&-; }
# in_zone ZONE BRIDGE: in the rules that firewalld has made, which asks it nothing
in_zone() { in_engine_net nft list chain inet firewalld filter_FORWARD_ZONES | grep -q "iifname \"$2\" goto filter_FWD_$1"; }
not_in_zone() { ! in_zone "$@"; }

# A server outside of the machine.
outside_start() {
    mkdir "$BATS_FILE_TMPDIR/www"
    echo outside >"$BATS_FILE_TMPDIR/www/index.html"
    # Not by in_neighbour: the process to be ended is the server itself.
    ip netns exec "$NEIGHBOUR_NETNS" /usr/bin/python3 -m http.server 8099 --directory "$BATS_FILE_TMPDIR/www" >/dev/null 2>&1 3>&- &
    echo $! >"$BATS_FILE_TMPDIR/outside"
    poll in_neighbour curl -sf http://127.0.0.1:8099/
}
outside_stop() { kill "$(cat "$BATS_FILE_TMPDIR/outside")"; }

# web NAME PORT [ARGUMENT...]: a container with a server on the machine's port
web() { docker run -d --name "$1" -p "$2:80" "${@:3}" busybox sh -c 'mkdir /www; echo here >/www/index.html; exec httpd -f -p 80 -h /www'; }
answers() { in_neighbour curl -sSf --max-time 5 "http://$SUBJECT_ADDRESS:$1/"; }
answers_here() { in_engine_net curl -sSf --max-time 5 "http://127.0.0.1:$1/"; }
# get NAME HOST PORT TEXT: a page from within a container
get() { docker exec "$1" sh -c "printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 5 $2 $3 | grep -x $4"; }
gets_out() { get "$1" "$NEIGHBOUR_ADDRESS" 8099 outside; }
cut_off() { ! gets_out "$1" >/dev/null 2>&1; }
# By the address of the machine, from another network.
gets_round() { get "$1" "$SUBJECT_ADDRESS" "$2" here; }

# all_is_well NAME PORT OTHER: of two containers on two networks
all_is_well() {
    local address
    poll answers "$2"
    poll answers_here "$2"
    poll gets_out "$1"
    poll gets_out "$3"
    poll gets_round "$3" "$2"
    address=$(docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$1")
    run ! docker exec "$3" nc -w 1 "$address" 80
}

@test "firewalld was there first: bridges are in the zone docker, all works, firewalld alone would have refused it, a reload takes nothing away" {
    docker network create -o com.docker.network.bridge.name=fwd0 "$N-net"
    in_zone docker docker0
    in_zone docker fwd0
    grep -q 'target="ACCEPT"' "$(folder)/etc/zones/docker.xml"
    web "$N" 8090 --network "$N-net"
    web "$N-two" 8091
    all_is_well "$N" 8090 "$N-two"
    zone --zone=docker --remove-interface=docker0
    poll cut_off "$N-two"
    poll answers 8091
    zone --reload
    poll in_zone docker docker0
    all_is_well "$N" 8090 "$N-two"
    docker rm -f "$N" "$N-two"
    docker network rm "$N-net"
    not_in_zone docker fwd0
}

@test "firewalld ends and starts anew beside the engine: all works without it and with it, also what was made meanwhile" {
    only_ours "with firewalld its chains are gone, and no network can be made"
    "$CI/firewalld" stop "$(folder)" firewalld
    docker network create -o com.docker.network.bridge.name=fwd1 "$N-net"
    web "$N" 8090 --network "$N-net"
    web "$N-two" 8091
    all_is_well "$N" 8090 "$N-two"
    "$CI/firewalld" start "$SUBJECT_NETNS" "$(folder)"
    poll in_zone docker docker0
    poll in_zone docker fwd1
    all_is_well "$N" 8090 "$N-two"
    docker rm -f "$N" "$N-two"
    docker network rm "$N-net"
}

@test "an interface that its owner has put into another zone stays there, and the network is made" {
    only_ours "it refuses to make the network"
    zone --permanent --zone=trusted --add-interface=fwd3
    zone --reload
    docker network create -o com.docker.network.bridge.name=fwd3 "$N-net"
    in_zone trusted fwd3
    web "$N" 8090 --network "$N-net"
    poll answers 8090
    poll gets_out "$N"
    docker rm -f "$N"
    docker network rm "$N-net"
    zone --permanent --zone=trusted --remove-interface=fwd3
}

@test "a firewalld that hangs: the engine starts without it (LONG=1: it is waited for)" {
    only_ours "it waits for ever"
    [ -n "${LONG-}" ] || skip "LONG=1 only"
    local pid
    pid=$(cat "$(folder)/firewalld.pid")
    kill -STOP "$pid"
    engine_again
    request GET /_ping
    kill -CONT "$pid"
    poll in_zone docker docker0
}
