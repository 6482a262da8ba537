#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Names of containers and published ports while the processes that serve them are killed (LONG=1: twenty times). In a lab of its own.
load helpers

setup_file() {
    only_ours_file "its names end with its daemon" || return 0
    own_lab engine neighbour
    need_image busybox
}
setup() {
    begin_test
    request GET /_ping || own_start
}
teardown() {
    [ -n "${N-}" ] || return 0
    touch "$BATS_TEST_TMPDIR/count.stop"
    remove_ours
    docker network rm "$N" >/dev/null 2>&1 || true
}

netd() { # its process in this lab's network namespace
    local p
    for p in $(ip netns pids "$SUBJECT_NETNS"); do
        [ "$(cat "/proc/$p/comm" 2>/dev/null)" != hatake-netd ] || echo "$p"
    done
}
another_netd() { [ -n "$(netd)" ] && [ "$(netd)" != "$1" ]; }
# Good answers so far; more than that.
answers() { cat "$BATS_TEST_TMPDIR/count" 2>/dev/null || echo 0; }
more_than() { [ "$(answers)" -gt "$1" ]; }
go_on() { poll more_than $(($(answers) + 100)); }

# Two containers, and one that asks for the other all the time.
begin() {
    docker network create --subnet 10.232.1.0/24 "$N"
    docker run -d --name "$N-a" --network "$N" --ip 10.232.1.2 busybox sleep 1000
    docker run -d --name "$N-b" --network "$N" --ip 10.232.1.3 --network-alias web -p 8082:80 busybox sh -c \
        'mkdir /www; echo here >/www/index.html; exec httpd -f -p 80 -h /www'
    pid=$(docker inspect -f '{{.State.Pid}}' "$N-a")
    nsenter -t "$pid" -n "$BATS_TEST_DIRNAME/ask-names" web 10.232.1.3 "$BATS_TEST_TMPDIR/count" >"$BATS_TEST_TMPDIR/said" 3>&- &
    job=$!
    poll more_than 100
}
page() { [ "$(in_neighbour curl -sSf --max-time 60 "http://$SUBJECT_ADDRESS:8082/")" = here ]; }

# finish KILLS: at most one question was on its way in each process that was killed.
finish() {
    touch "$BATS_TEST_TMPDIR/count.stop"
    wait "$job"
    run -0 cat "$BATS_TEST_TMPDIR/said"
    contains "$output" 'wrong 0'
    [ "$(awk '{print $2}' <<<"$output")" -le "$1" ] || fail "$output"
}

@test "names are answered while hatake-netd is killed again and again" {
    local i old rules
    begin
    rules=$(nsenter -t "$pid" -n iptables -t nat -S)
    for i in 1 2 3 4 5; do
        old=$(netd)
        kill -KILL "$old"
        poll another_netd "$old"
        go_on
        poll page
    done
    same "$rules" "$(nsenter -t "$pid" -n iptables -t nat -S)"
    # The published port is still nobody else's.
    run ! in_engine_net timeout 60 /usr/bin/python3 -c 'import socket; socket.socket().bind(("0.0.0.0", 8082))'
    finish 5
}

@test "names are answered without hataked, and by the next one, also when both were killed" {
    local old
    begin
    old=$(netd)
    own_kill
    go_on
    page
    own_start
    go_on
    same "$old" "$(netd)"
    own_kill
    kill -KILL "$old"
    own_start
    poll another_netd "$old"
    go_on
    page
    finish 1
    # What comes and goes is known.
    same 10.232.1.2 "$(docker exec "$N-b" nslookup "$N-a" | awk '/^Address: / {print $2}')"
    docker rm -f "$N-a"
    run ! docker exec "$N-b" nslookup "$N-a"
}

# Everything of the network that must be the same afterwards, without counters and without what time changes by itself.
network_state() {
    in_engine_net iptables-save | sed '/^[#:]/d'
    in_engine_net nft -s list ruleset
    in_engine_net ip -o addr show scope global
    in_engine_net ip route
    nsenter -t "$pid" -n iptables-save | sed '/^[#:]/d'
    nsenter -t "$pid" -n ip -o addr show scope global
    in_engine_net ss -Hltun | awk '{print $1, $5}' | sort
}

# load NAME COMMAND...: one more that asks all the time; its answers are counted in count-NAME
load() {
    local name=$1
    shift
    "$@" "$BATS_TEST_TMPDIR/count-$name" >"$BATS_TEST_TMPDIR/said-$name" 3>&- &
    jobs+=($!)
}
# All of them have good answers that they did not have before.
all_go_on() {
    local name before=()
    for name in "$@"; do before+=("$(cat "$BATS_TEST_TMPDIR/count-$name" 2>/dev/null || echo 0)"); done
    for name in "$@"; do
        poll eval "[ \$(cat '$BATS_TEST_TMPDIR/count-$name' 2>/dev/null || echo 0) -gt $((before[0] + 20)) ]"
        before=("${before[@]:1}")
    done
}

@test "kill -9 of both under load of pages and names: nothing fails but what was on its way in hatake-netd, and all is as before" {
    local i job name old jobs=() names=(name1 name2 name3) nat=(nat1 nat2) proxied=(proxy1 proxy2) kills=0 failed=0 rounds=${LONG:+20}
    docker run --rm -p 8082:80 busybox true
    "$CI/leaks" snapshot "$BATS_TEST_TMPDIR/census" --lab engine
    docker network create --subnet 10.232.1.0/24 "$N"
    docker run -d --name "$N-a" --network "$N" --ip 10.232.1.2 busybox sleep 1000
    docker run -d --name "$N-b" --network "$N" --ip 10.232.1.3 --network-alias web -p 8082:80 -p 8083:7/udp busybox sh -c \
        'mkdir /www; echo here >/www/index.html; exec httpd -f -p 80 -h /www'
    pid=$(docker inspect -f '{{.State.Pid}}' "$N-a")
    poll page
    network_state >"$BATS_TEST_TMPDIR/before" 2>/dev/null
    for name in "${names[@]}"; do load "$name" nsenter -t "$pid" -n "$BATS_TEST_DIRNAME/ask-names" web 10.232.1.3; done
    for name in "${nat[@]}"; do load "$name" in_neighbour "$BATS_TEST_DIRNAME/ask-pages" "$SUBJECT_ADDRESS" 8082 here; done
    for name in "${proxied[@]}"; do load "$name" in_engine_net "$BATS_TEST_DIRNAME/ask-pages" ::1 8082 here; done
    for ((i = 0; i < ${rounds:-3}; i++)); do
        all_go_on "${names[@]}" "${nat[@]}" "${proxied[@]}"
        old=$(netd)
        kill -KILL "$old"
        kills=$((kills + 1))
        poll another_netd "$old"
        all_go_on "${names[@]}" "${nat[@]}" "${proxied[@]}"
        own_kill
        all_go_on "${names[@]}" "${nat[@]}" "${proxied[@]}"
        own_start
        [ "$(netd)" != "$old" ]
    done
    # The one that hataked found is killed too: its sockets have come back to the new hataked.
    old=$(netd)
    kill -KILL "$old"
    kills=$((kills + 1))
    poll another_netd "$old"
    all_go_on "${names[@]}" "${nat[@]}" "${proxied[@]}"
    for name in "${names[@]}" "${nat[@]}" "${proxied[@]}"; do touch "$BATS_TEST_TMPDIR/count-$name.stop"; done
    for job in "${jobs[@]}"; do wait "$job"; done
    for name in "${nat[@]}"; do same 'failed 0' "$(cat "$BATS_TEST_TMPDIR/said-$name")"; done
    # A question or page each that was in the process when it was killed.
    for name in "${names[@]}"; do
        contains "$(cat "$BATS_TEST_TMPDIR/said-$name")" 'wrong 0'
        i=$(awk '{print $2}' "$BATS_TEST_TMPDIR/said-$name")
        [ "$i" -le "$kills" ] || fail "$name: $i questions lost in $kills kills"
        failed=$((failed + i))
    done
    for name in "${proxied[@]}"; do
        i=$(awk '{print $2}' "$BATS_TEST_TMPDIR/said-$name")
        [ "$i" -le "$kills" ] || fail "$name: $(cat "$BATS_TEST_TMPDIR/said-$name") in $kills kills"
        run ! grep -i refused "$BATS_TEST_TMPDIR/said-$name"
        failed=$((failed + i))
    done
    echo "# $kills kills: $failed requests lost in hatake-netd, of $(cat "$BATS_TEST_TMPDIR"/count-* | awk '{s += $1} END {print s}')" >&3
    network_state 2>/dev/null | diff "$BATS_TEST_TMPDIR/before" -
    docker rm -f "$N-a" "$N-b"
    docker network rm "$N"
    "$CI/leaks" compare "$BATS_TEST_TMPDIR/census" --settle 60 --ignore '^(thread|descriptor|inotify|socket): |hatake-launcher'
}

@test "hatake-netd goes when nobody needs it any more" {
    begin
    [ -n "$(netd)" ]
    touch "$BATS_TEST_TMPDIR/count.stop"
    wait "$job"
    docker rm -f "$N-a" "$N-b"
    none() { [ -z "$(netd)" ]; }
    poll none
}

# What the server in the container sees: dial KIND WHERE [PREFIX...]
DIAL=$TOP/diffharness/tools/dial
caller() {
    local kind=$1 where=$2
    shift 2
    "$@" "$DIAL" "$kind" "$where" 8084 hello --tries 50 | sed 's/:[0-9]* said hello.*//'
}
sees() { same "$1" "$(caller "${@:2}")" "the server sees of ${*:2}"; }

@test "hatake-netd has no rights, and its system calls are filtered" {
    local status
    begin
    status=$(cat "/proc/$(netd)/status")
    touch "$BATS_TEST_TMPDIR/count.stop"
    wait "$job"
    same '65534 65534 65534 65534' "$(awk '/^Uid:/ {print $2, $3, $4, $5}' <<<"$status")"
    same '65534 65534 65534 65534' "$(awk '/^Gid:/ {print $2, $3, $4, $5}' <<<"$status")"
    same '0000000000000000' "$(awk '/^Cap(Inh|Prm|Eff|Bnd|Amb):/ {print $2}' <<<"$status" | sort -u)"
    same '1 2' "$(awk '/^(NoNewPrivs|Seccomp):/ {print $2}' <<<"$status" | paste -sd ' ')"
}

@test "--iptables=false: everything comes by the proxy, from the bridge's address" {
    own_restart --iptables=false
    need_image echo
    docker run -d --name "$N" -p 8084:7 -p 8084:7/udp echo
    sees 172.17.0.1 tcp "$SUBJECT_ADDRESS" in_neighbour
    sees 172.17.0.1 udp "$SUBJECT_ADDRESS" in_neighbour
    sees 172.17.0.1 tcp 127.0.0.1 in_engine_net
    sees 172.17.0.1 udp 127.0.0.1 in_engine_net
    sees 172.17.0.1 tcp ::1 in_engine_net
    docker rm -f "$N"
    own_restart
}

@test "--userland-proxy=false: the kernel does it all; the port is kept, and nobody serves it over IPv6" {
    own_restart --userland-proxy=false
    need_image echo
    docker run -d --name "$N" -p 8084:7 -p 8084:7/udp echo
    sees "$NEIGHBOUR_ADDRESS" tcp "$SUBJECT_ADDRESS" in_neighbour
    sees "$NEIGHBOUR_ADDRESS" udp "$SUBJECT_ADDRESS" in_neighbour
    sees 172.17.0.1 tcp 127.0.0.1 in_engine_net
    sees 172.17.0.1 tcp 172.17.0.1 in_engine_net
    same silent "$(in_engine_net "$DIAL" tcp ::1 8084 hello)"
    run ! in_engine_net timeout 60 /usr/bin/python3 -c 'import socket; socket.socket().bind(("0.0.0.0", 8084))'
    docker rm -f "$N"
    own_restart
}
