#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Published ports, seen from the engine's own network and from another machine.
load helpers

setup_file() {
    need_image busybox echo
}

# web NAME FLAG...: a web server whose page is its name
web() {
    local name=$1
    shift
    docker run -d --name "$name" "$@" busybox sh -c "mkdir /www; echo page-of-$name >/www/index.html; exec httpd -f -p 80 -h /www"
}
serves() { [ "$("${@:2}")" = "page-of-$1" ]; }
# free_port: one that nothing listens on in the engine's network
free_port() {
    local p
    while :; do
        p=$((20000 + RANDOM % 10000))
        in_engine_net ss -Hltun "sport = :$p" | grep -q . || break
    done
    echo $p
}

@test "-p 8080:80: reachable at 127.0.0.1, at the engine's address and from the neighbour" {
    local port=8080
    in_engine_net ss -Hltn "sport = :$port" | grep -q . && port=$(free_port)
    web "$N" -p $port:80
    poll serves "$N" in_engine_net curl -sS --max-time 60 http://127.0.0.1:$port/
    serves "$N" in_engine_net curl -sS --max-time 60 "http://$SUBJECT_ADDRESS:$port/"
    serves "$N" in_neighbour curl -sS --max-time 60 "http://$SUBJECT_ADDRESS:$port/"
    same "0.0.0.0:$port" "$(docker port "$N" 80/tcp | head -n 1)"
}

# syn_repeats: how often the neighbour has had to say again that it wants a connection.
syn_repeats() {
    in_neighbour awk '/^TcpExt:/ { if (n++) print $at; else for (i = 1; i <= NF; i++) if ($i == "TCPSynRetrans") at = i }' /proc/net/netstat
}

@test "the first packet to a published port is in the container by the time start returns" {
    local port round repeats sent
    port=$(free_port)
    repeats=$(syn_repeats)
    docker create --name "$N" -p "$port:80" busybox sleep 1000
    for round in 1 2 3 4 5 6; do
        # Every other time into the place that the one before has just left: the same address, while the old links are still being taken down.
        if [ $((round % 2)) = 1 ]; then docker start "$N"; else docker restart -t 0 "$N"; fi
        # Nobody listens in there, so it is the container's own kernel that refuses, and counts it.
        same refused "$(in_neighbour "$TOP/diffharness/tools/dial" tcp "$SUBJECT_ADDRESS" "$port" --timeout 60)" "round $round"
        sent=$(docker exec "$N" awk '/^Tcp: [0-9]/ { print $15 }' /proc/net/snmp)
        same 1 "$sent" "round $round: connections that the container has refused"
        [ $((round % 2)) = 1 ] || docker kill "$N"
    done
    same "$repeats" "$(syn_repeats)" "first packets that were lost"
}

same_netns() { [ "$(readlink "/proc/$1/ns/net")" = "$(readlink "/proc/$2/ns/net")" ]; }

@test "a container that starts again is alone with its address, whoever holds its old network namespace" {
    local ip pid holder round
    web "$N"
    ip=$(docker inspect -f '{{.NetworkSettings.IPAddress}}' "$N")
    poll serves "$N" in_engine_net curl -sS --max-time 60 "http://$ip/"
    pid=$(docker inspect -f '{{.State.Pid}}' "$N")
    nsenter -t "$pid" -n sleep 1000 3>&- &
    holder=$!
    poll same_netns "$holder" "$pid"
    docker restart -t 0 "$N"
    same "$ip" "$(docker inspect -f '{{.NetworkSettings.IPAddress}}' "$N")" "its address"
    poll serves "$N" in_engine_net curl -sS --max-time 60 "http://$ip/"
    # Nobody listens in the old one: to be answered by it is to be refused.
    for round in 1 2 3 4 5; do
        in_engine_net ip neigh flush dev docker0
        serves "$N" in_engine_net curl -sS --max-time 60 "http://$ip/" || fail "round $round"
    done
    kill "$holder"
}

@test "the port is closed when the container is gone, and free for the next" {
    local port
    port=$(free_port)
    web "$N" -p "$port:80"
    poll serves "$N" in_neighbour curl -sS --max-time 60 "http://$SUBJECT_ADDRESS:$port/"
    docker rm -f "$N"
    run ! in_neighbour curl -sS --max-time 3 "http://$SUBJECT_ADDRESS:$port/"
    run ! in_engine_net curl -sS --max-time 3 "http://127.0.0.1:$port/"
    web "$N-2" -p "$port:80"
    poll serves "$N-2" in_neighbour curl -sS --max-time 60 "http://$SUBJECT_ADDRESS:$port/"
}

@test "a stream to a published port on loopback crosses the bridge in pieces of more than 64 KiB; those of the container are as ever" {
    local port pieces
    [ "$ENGINE_HOST" != "${REFERENCE_HOST-}" ] || skip "of this engine"
    [ "$(printf '6.3\n%s\n' "$(uname -r)" | sort -V | head -n 1)" = 6.3 ] || skip "Linux 6.3"
    port=$(free_port)
    docker run -d --name "$N" -p "127.0.0.1:$port:7" busybox sh -c 'while nc -l -p 7 -e cat; do :; done'
    poll in_engine_net "$TOP/diffharness/tools/dial" tcp 127.0.0.1 "$port" --timeout 60
    # Longer pieces, not longer packets.
    same 1500 "$(docker exec "$N" cat /sys/class/net/eth0/mtu)"
    pieces=$(in_engine_net "$TOP/contract-tests/system/longest-pieces" docker0 "$port")
    [ "${pieces% *}" -gt 65536 ] || fail "longest piece on its way in: ${pieces% *}"
    [ "${pieces#* }" -le $((65536 + 14)) ] || fail "longest piece on its way out: ${pieces#* }"
}

@test "a port published on 127.0.0.1 cannot be reached by the neighbour, not even with a route to 127.0.0.1" {
    local port ip
    port=$(free_port)
    web "$N" -p "127.0.0.1:$port:80"
    poll serves "$N" in_engine_net curl -sS --max-time 60 "http://127.0.0.1:$port/"
    run ! in_neighbour curl -sS --max-time 3 "http://$SUBJECT_ADDRESS:$port/"
    # The neighbour sends packets for 127.0.0.1 to the engine's machine. Its own machine must let it: that is its right, not the engine's.
    in_neighbour ip route add 127.0.0.0/8 via "$SUBJECT_ADDRESS" dev eth0 2>/dev/null || true
    in_neighbour sysctl -qw net.ipv4.conf.all.route_localnet=1 net.ipv4.conf.eth0.route_localnet=1
    in_neighbour ip route del local 127.0.0.0/8 dev lo table local 2>/dev/null || true
    in_neighbour ip route del local 127.0.0.1 dev lo table local 2>/dev/null || true
    run in_neighbour curl -sS --max-time 3 --interface eth0 "http://127.0.0.1:$port/"
    local answered=$status
    in_neighbour ip route del 127.0.0.0/8 via "$SUBJECT_ADDRESS" 2>/dev/null || true
    in_neighbour ip link set lo down
    in_neighbour ip link set lo up
    in_neighbour sysctl -qw net.ipv4.conf.all.route_localnet=0 net.ipv4.conf.eth0.route_localnet=0
    [ "$answered" != 0 ] || fail "the neighbour reached a port of 127.0.0.1"
    ip=$(docker inspect -f '{{.NetworkSettings.IPAddress}}' "$N")
    serves "$N" in_engine_net curl -sS --max-time 60 "http://$ip/"
}

@test "a port that is taken: the reference's message, the container stays created, nothing is published" {
    local port
    port=$(free_port)
    web "$N" -p "$port:80"
    run -125 web "$N-2" -p "$port:80"
    contains "$output" "Bind for 0.0.0.0:$port failed: port is already allocated"
    same created "$(state_of "$N-2")"
    docker rm -f "$N"
    docker start "$N-2"
    poll serves "$N-2" in_neighbour curl -sS --max-time 60 "http://$SUBJECT_ADDRESS:$port/"
}

@test "a port that another program listens on is refused" {
    local port listener
    port=$(free_port)
    in_engine_net /usr/bin/python3 -c 'import socket,sys,time
s=socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("0.0.0.0", int(sys.argv[1]))); s.listen(); time.sleep(60)' "$port" &
    listener=$!
    poll eval "in_engine_net ss -Hltn 'sport = :$port' | grep -q ."
    run -125 web "$N" -p "$port:80"
    kill "$listener"
    contains "$output" 'address already in use'
    same created "$(state_of "$N")"
}

@test "-P publishes what the image exposes, on a port of the ephemeral range" {
    docker run -d --name "$N" -P --expose 80 busybox sh -c 'mkdir /www; echo here >/www/index.html; exec httpd -f -p 80 -h /www'
    local port
    port=$(docker port "$N" 80/tcp | head -n 1)
    port=${port##*:}
    [ "$port" -ge 32768 ] || fail "port $port"
    poll in_neighbour curl -sSf --max-time 60 "http://$SUBJECT_ADDRESS:$port/"
}

@test "udp: an answer comes back to the neighbour, which the container sees by its own address" {
    local port
    port=$(free_port)
    docker run -d --name "$N" -p "$port:7/udp" echo
    ask() {
        in_neighbour /usr/bin/python3 -c 'import socket,sys
s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(1)
for _ in range(60): # a datagram may be lost, and the server may not listen yet
    try:
        s.sendto(b"hello", (sys.argv[1], int(sys.argv[2]))); print(s.recv(999).decode()); break
    except OSError:
        pass' "$SUBJECT_ADDRESS" "$port"
    }
    run -0 ask
    contains "$output" hello
    contains "$output" "$NEIGHBOUR_ADDRESS"
}

@test "a container reaches the neighbour's network through NAT, under the engine's address" {
    local port=$((30000 + RANDOM % 5000)) listener
    in_neighbour /usr/bin/python3 -c 'import socket,sys
s=socket.socket(); s.bind(("0.0.0.0", int(sys.argv[1]))); s.listen()
c,a=s.accept(); c.sendall(("you are %s\n" % a[0]).encode()); c.close()' $port &
    listener=$!
    poll eval "in_neighbour ss -Hltn 'sport = :$port' | grep -q ."
    run -0 docker run --rm --name "$N" busybox nc "$NEIGHBOUR_ADDRESS" $port
    wait "$listener"
    same "you are $SUBJECT_ADDRESS" "$output"
}

@test "containers of one bridge reach each other; --network none has loopback only; host sees the engine's links" {
    local ip
    web "$N"
    ip=$(docker inspect -f '{{.NetworkSettings.IPAddress}}' "$N")
    poll in_engine_net curl -sSf --max-time 60 "http://$ip/"
    same "page-of-$N" "$(docker run --rm --name "$N-2" busybox wget -qO- "http://$ip/")"
    same lo "$(docker run --rm --name "$N-3" --network none busybox ls /sys/class/net)"
    contains "$(docker run --rm --name "$N-4" --network host busybox ls /sys/class/net)" docker0
}

# neighbour_meets ADDRESS:PORT: what the neighbour gets there, "page" or "nothing". Every address of the engine stands for its address on the lab's network.
neighbour_meets() {
    local at=$1 link
    link=$(in_engine_net ip -6 -o addr show dev eth0 scope link | sed -n 's/.* inet6 \([^/]*\).*/\1/p')
    at=${at/#0.0.0.0/$SUBJECT_ADDRESS}
    at=${at/#\[::\]/[$link%eth0]}
    if in_neighbour curl -gsS --max-time 5 "http://$at/" 2>/dev/null | grep -q page-of; then echo page; else echo nothing; fi
}
is_met() { [ "$(neighbour_meets "$1")" = page ]; }

@test "exposure: what is said of each published port is what the neighbour meets; what is not published is not said" {
    only_ours "its command-line program"
    local name address reach by said
    docker network create --internal "$N" >/dev/null
    web "$N-any" -p 80
    web "$N-lo" -p 127.0.0.1::80
    web "$N-one" -p "$SUBJECT_ADDRESS::80"
    web "$N-six" -p '[::1]::80'
    web "$N-in" --network "$N" -p 80
    run -0 in_engine_net "$TOP/build/bin/hatake" -H "$ENGINE_HOST" exposure --json
    said=$(/usr/bin/python3 -c 'import json, sys
for p in json.load(sys.stdin):
    if p["Container"].startswith(sys.argv[1]):
        print(p["Container"], p["Address"], p["ReachableFrom"].replace(" ", "-"), p["DecidedBy"].replace(" ", "-"))' "$N-" <<<"$output")
    same "$N-any $N-any $N-lo $N-one $N-six" "$(awk '{print $1}' <<<"$said" | sort | paste -sd ' ')"
    while read -r name address reach by; do
        case $name in
        "$N-lo" | "$N-six")
            same this-machine "$reach"
            same nothing "$(neighbour_meets "$address")"
            ;;
        *)
            [ "$reach" != this-machine ] || fail "$name $address: $reach"
            poll is_met "$address"
            # The owner's rules come first where it says so.
            in_engine_net iptables -I DOCKER-USER -i eth0 -j DROP
            case $by in
            *DOCKER-USER*) same nothing "$(neighbour_meets "$address")" ;;
            *) same page "$(neighbour_meets "$address")" ;;
            esac
            in_engine_net iptables -D DOCKER-USER -i eth0 -j DROP
            ;;
        esac
    done <<<"$said"
    run -0 in_engine_net "$TOP/build/bin/hatake" -H "$ENGINE_HOST" exposure --outside
    same 3 "$(grep -c "$N-" <<<"$output")"
    remove_ours
    docker network rm "$N" >/dev/null
}
