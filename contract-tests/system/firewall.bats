#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Rules and ports when others interfere: tables are flushed, the daemon is killed under load, many containers want ports at once. In a lab of their own.
load helpers

setup_file() {
    only_ours_file "it does not repair its rules and ends its containers" || return 0
    own_lab engine neighbour
    need_image busybox
}
setup() {
    begin_test
    request GET /_ping || own_start
}

web() {
    docker run -d --name "$N" "$@" busybox sh -c 'mkdir /www; echo here >/www/index.html; exec httpd -f -p 80 -h /www'
}
rules() { in_engine_net iptables-save | sed -E 's/\[[0-9]+:[0-9]+\]//; /^#/d'; }
ours() { in_engine_net nft list table ip hatake | sed -E 's/counter packets [0-9]+ bytes [0-9]+/counter/' | sort; }
answers() { in_neighbour curl -sSf --max-time 5 "http://$SUBJECT_ADDRESS:$1/"; }

@test "iptables -F, -t nat -F and nft flush ruleset: the rules come back by themselves, in their order, and published ports answer" {
    local before flush
    docker network create "$N-net"
    web --network "$N-net" -p 8090:80
    poll answers 8090
    before=$(rules)
    for flush in 'iptables -F' 'iptables -t nat -F' 'nft flush ruleset'; do
        # shellcheck disable=SC2086
        in_engine_net $flush
        poll eval "[ \"\$(rules | grep -c -e DOCKER)\" = '$(grep -c -e DOCKER <<<"$before")' ]"
        poll answers 8090
    done
    same "$(grep '^-' <<<"$before" | sort)" "$(rules | grep '^-' | sort)"
    docker rm -f "$N"
    docker network rm "$N-net"
}

# Ends a stretch of what the kernel tells about rules, and says how many changes of the rule set the stretch before had.
changes_until() { # MARK: a table of that name, made and seen
    in_engine_net nft add table ip "$1"
    poll grep -qx "add table ip $1" "$BATS_TEST_TMPDIR/seen"
    poll grep -q "new generation" <(sed "1,/^add table ip $1\$/d" "$BATS_TEST_TMPDIR/seen")
    sed "/^add table ip $1\$/q" "$BATS_TEST_TMPDIR/seen" | tac | sed '/^add table ip/{1!q}' | grep -c 'new generation'
}

@test "a container on two networks with six ports: its start is one change of the rules, its end is one" {
    docker network create "$N-net"
    docker network create "$N-other"
    docker create --name "$N" --network "$N-net" -p 8093:80 -p 8094:81 -p 127.0.0.1:8095:82 -p 8096-8098:83-85/udp busybox sleep 1000
    docker network connect "$N-other" "$N"
    # Not by in_engine_net: the process to be ended is the monitor itself.
    ip netns exec "$SUBJECT_NETNS" nft monitor >"$BATS_TEST_TMPDIR/seen" 3>&- &
    poll eval "in_engine_net nft add table ip listening; in_engine_net nft delete table ip listening; grep -q listening '$BATS_TEST_TMPDIR/seen'"
    changes_until before
    docker start "$N"
    same 2 "$(changes_until started)" "changes of the rules, that of the mark among them"
    docker rm -f "$N"
    same 2 "$(changes_until ended)" "changes of the rules, that of the mark among them"
    in_engine_net nft 'delete table ip before; delete table ip started; delete table ip ended'
    docker network rm "$N-net" "$N-other"
}

@test "one rule that its owner takes away stays away, and his own rules stay" {
    docker network create -o com.docker.network.bridge.name=fwown0 "$N-net"
    in_engine_net iptables -I DOCKER-USER -s 203.0.113.7 -j DROP
    in_engine_net iptables -D FORWARD -i fwown0 -o fwown0 -j ACCEPT
    docker network create "$N-other"
    run ! in_engine_net iptables -C FORWARD -i fwown0 -o fwown0 -j ACCEPT
    in_engine_net iptables -C DOCKER-USER -s 203.0.113.7 -j DROP
    in_engine_net iptables -F FORWARD
    poll in_engine_net iptables -C FORWARD -i fwown0 -o fwown0 -j ACCEPT
    in_engine_net iptables -C DOCKER-USER -s 203.0.113.7 -j DROP
    in_engine_net iptables -D DOCKER-USER -s 203.0.113.7 -j DROP
    docker network rm "$N-net" "$N-other"
}

@test "kill -9 of the daemon under a load of requests: none fails, rules and addresses are what they were" {
    local before own address
    web -p 8091:80 -p 127.0.0.1:8092:80
    poll answers 8091
    before=$(rules) own=$(ours) address=$(docker inspect -f '{{json .NetworkSettings.Networks}}' "$N")
    ask() { # COMMAND PREFIX URL: until the file is there; says how many were asked and how many failed
        local asked=0 failed=0
        while [ ! -e "$BATS_TEST_TMPDIR/enough" ]; do
            asked=$((asked + 1))
            "$1" curl -sSf --max-time 60 "$2" >/dev/null 2>>"$BATS_TEST_TMPDIR/errors" || failed=$((failed + 1))
        done
        echo "$asked $failed"
    }
    ask in_neighbour "http://$SUBJECT_ADDRESS:8091/" >"$BATS_TEST_TMPDIR/one" &
    local jobs=($!)
    ask in_engine_net http://127.0.0.1:8092/ >"$BATS_TEST_TMPDIR/two" &
    jobs+=($!)
    local i
    for i in 1 2 3; do
        own_kill
        own_start
    done
    touch "$BATS_TEST_TMPDIR/enough"
    wait "${jobs[@]}"
    echo "# asked and failed: $(cat "$BATS_TEST_TMPDIR/one") $(cat "$BATS_TEST_TMPDIR/two")" >&3
    [[ $(cat "$BATS_TEST_TMPDIR/one") == *' 0' ]] || fail "$(cat "$BATS_TEST_TMPDIR/errors")"
    [[ $(cat "$BATS_TEST_TMPDIR/two") == *' 0' ]] || fail "$(cat "$BATS_TEST_TMPDIR/errors")"
    same "$before" "$(rules)"
    same "$own" "$(ours)"
    same "$address" "$(docker inspect -f '{{json .NetworkSettings.Networks}}' "$N")"
    docker rm -f "$N"
}

@test "many containers at once that want any port: all of them start, no port is given twice" {
    local count=${LONG:+100} ports
    count=${count:-24}
    seq "$count" | xargs -P 12 -I{} "$CLI" -H "$ENGINE_HOST" run -d --name "$N-{}" -p 80 -p 81/udp busybox sleep 1000 >/dev/null
    same "$count" "$(docker ps -q --filter "name=$N" | wc -l)"
    ports=$(docker ps --filter "name=$N" --format '{{.Ports}}' | tr ',' '\n' | grep -o '0.0.0.0:[0-9]*->[0-9]*' | sort)
    same $((2 * count)) "$(wc -l <<<"$ports")"
    same "" "$(grep -- '->80$' <<<"$ports" | cut -d- -f1 | uniq -d)"
    docker ps -aq --filter "name=$N" | xargs "$CLI" -H "$ENGINE_HOST" rm -f >/dev/null
}
