#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What the daemon's flags do, seen from containers and from the API. Engines of these tests run in a lab of their own; on the reference (ENGINE_HOST =
# REFERENCE_HOST) the same must hold. Bad values are contract-tests/options; sockets, files and TLS are daemon.bats.
load helpers

FIRST="--bip 10.77.0.1/24 --fixed-cidr 10.77.0.128/25 --mtu 1420 --default-ulimit nofile=123:456 --label a=b --label c=d --init --cgroup-parent /flagged
    --log-opt max-size=1m --log-opt max-file=2 --default-shm-size 32m --dns 10.9.9.9 --dns-search example.test --dns-opt ndots:3
    --default-ipc-mode shareable --default-cgroupns-mode private --no-new-privileges --ip 127.0.0.1 --host-gateway-ip 10.8.8.8
    --default-address-pool base=10.88.0.0/16,size=28 --icc=false --default-gateway 10.77.0.9 --insecure-registry 10.5.0.0/16 --insecure-registry there.test:5000
    --registry-mirror https://mirror.test --experimental --userland-proxy=false --http-proxy http://proxy.test:1 --https-proxy http://user:word@proxy.test:2
    --no-proxy local.test --live-restore"
SECOND="--iptables=false --ip-forward=false --ip-masq=false --log-driver local --seccomp-profile unconfined --userland-proxy=true --shutdown-timeout 1 --dns 10.9.9.8 -D"

both_flags() { # FLAG...: start the engine under test with these
    ENGINE_FLAGS="$*" REFERENCE_FLAGS="$*" "$CI/lab" restart "$SUBJECT" >&2 3>&-
    echo "$*" >"$BATS_FILE_TMPDIR/flags"
    need_image busybox
}
# A test that is run alone finds the first flags.
# shellcheck disable=SC2086
second_flags() { [ "$(cat "$BATS_FILE_TMPDIR/flags")" = "$SECOND" ] || both_flags $SECOND; }
setup_file() {
    own_lab "$SUBJECT"
    # shellcheck disable=SC2086
    both_flags $FIRST
}
subject() { "$CI/lab" sh "$SUBJECT" "$@"; }
info() { docker info -f "$1"; }
bus() { docker run --rm --name "$N" "$@"; }

@test "--bip, --fixed-cidr, --default-gateway, --mtu: the default bridge and what containers get of it" {
    same 10.77.0.1/24 "$(subject ip -4 -o address show docker0 | awk '{print $4}')"
    run -0 bus busybox sh -c 'ip -4 -o address show eth0; ip route; cat /sys/class/net/eth0/mtu'
    [[ $output =~ inet\ 10\.77\.0\.(1[3-9][0-9]|12[89]|2[0-9][0-9])/24 ]] || fail "$output"
    contains "$output" 'default via 10.77.0.9'
    same 1420 "${lines[-1]}"
    same 1420 "$(docker network inspect bridge -f '{{index .Options "com.docker.network.driver.mtu"}}')"
    same '10.77.0.0/24 10.77.0.128/25 10.77.0.1 10.77.0.9' \
        "$(docker network inspect bridge -f '{{range .IPAM.Config}}{{.Subnet}} {{.IPRange}} {{.Gateway}} {{.AuxiliaryAddresses.DefaultGatewayIPv4}}{{end}}')"
}

@test "--default-address-pool: networks are cut from it" {
    docker network create "$N"
    run -0 docker network inspect "$N" -f '{{range .IPAM.Config}}{{.Subnet}}{{end}}'
    docker network rm "$N"
    [[ $output =~ ^10\.88\.0\.[0-9]+/28$ ]] || fail "$output"
    contains "$(info '{{json .DefaultAddressPools}}')" '[{"Base":"10.88.0.0/16","Size":28}]'
}

@test "--icc=false: containers of the default bridge do not reach each other" {
    docker run -d --name "$N" busybox httpd -f -h /
    poll docker exec "$N" wget -q -O /dev/null http://127.0.0.1/etc/passwd
    run ! bus2 busybox wget -q -T 1 -O - "http://$(docker inspect -f '{{.NetworkSettings.IPAddress}}' "$N")/etc/passwd"
}
bus2() { docker run --rm --name "$N-2" "$@"; }

@test "--ip: ports are published there" {
    docker run -d --name "$N" -p 8080:80 busybox httpd -f -h /etc
    same '127.0.0.1:8080' "$(docker port "$N" 80)"
}

@test "--default-ulimit, --default-shm-size, --init: in every container that does not say otherwise" {
    run -0 bus busybox sh -c 'ulimit -n; ulimit -Hn; df -k /dev/shm | tail -n 1; cat /proc/1/comm'
    same '123 456' "${lines[0]} ${lines[1]}"
    contains "${lines[2]}" ' 32768 '
    [[ ${lines[3]} == *init* ]] || fail "$output"
    run -0 bus --ulimit nofile=50:60 --shm-size 16m --init=false busybox sh -c 'ulimit -n; df -k /dev/shm | tail -n 1; cat /proc/1/comm; true'
    same 50 "${lines[0]}"
    contains "${lines[1]}" ' 16384 '
    same sh "${lines[2]}"
    docker create --name "$N" busybox
    same 33554432 "$(docker inspect -f '{{.HostConfig.ShmSize}}' "$N")"
}

@test "--cgroup-parent: containers are below it" {
    run -0 bus --cgroupns host busybox cat /proc/1/cgroup
    contains "$output" ":/flagged/"
}

@test "--default-ipc-mode, --default-cgroupns-mode, --no-new-privileges" {
    docker run -d --name "$N" busybox sleep 300
    same 'shareable private' "$(docker inspect -f '{{.HostConfig.IpcMode}} {{.HostConfig.CgroupnsMode}}' "$N")"
    contains "$(docker exec "$N" grep NoNewPrivs /proc/self/status)" 1
    same "$(docker exec "$N" readlink /proc/self/ns/ipc)" "$(bus2 --ipc "container:$N" busybox readlink /proc/self/ns/ipc)"
    docker kill "$N"
}

@test "--dns, --dns-search, --dns-opt, --host-gateway-ip" {
    run -0 bus --add-host up:host-gateway busybox sh -c 'grep -v "^#" /etc/resolv.conf; grep up /etc/hosts'
    contains "$output" 'nameserver 10.9.9.9'
    contains "$output" 'search example.test'
    contains "$output" 'options ndots:3'
    [[ $output =~ 10\.8\.8\.8.*up ]] || fail "$output"
}

@test "--log-driver, --log-opt: the defaults of a container's log" {
    docker create --name "$N" busybox
    same '{"Type":"json-file","Config":{"max-file":"2","max-size":"1m"}}' "$(docker inspect -f '{{json .HostConfig.LogConfig}}' "$N")"
    docker create --name "$N-2" --log-opt max-size=2m busybox
    same '{"Type":"json-file","Config":{"max-file":"2","max-size":"2m"}}' "$(docker inspect -f '{{json .HostConfig.LogConfig}}' "$N-2")"
    docker create --name "$N-3" --log-driver local busybox
    same '{"Type":"local","Config":{}}' "$(docker inspect -f '{{json .HostConfig.LogConfig}}' "$N-3")"
}

@test "--label, --insecure-registry, --registry-mirror, --experimental, the proxies, --live-restore: /info tells" {
    same 'a=b c=d' "$(info '{{join .Labels "\n"}}' | sort | paste -sd' ')" # the reference has them in any order
    contains "$(info '{{json .RegistryConfig.InsecureRegistryCIDRs}}')" '"10.5.0.0/16"'
    contains "$(info '{{json (index .RegistryConfig.IndexConfigs "there.test:5000")}}')" '"Secure":false'
    same '["https://mirror.test/"]' "$(info '{{json .RegistryConfig.Mirrors}}')"
    same 'true true' "$(info '{{.ExperimentalBuild}} {{.LiveRestoreEnabled}}')"
    same 'http://proxy.test:1 local.test' "$(info '{{.HTTPProxy}} {{.NoProxy}}')"
    contains "$(info '{{.HTTPSProxy}}')" 'xxxxx@proxy.test:2'
}

@test "--userland-proxy=false: the kernel publishes on loopback all the same" {
    docker run -d --name "$N" -p 8081:80 busybox httpd -f -h /etc
    poll in_engine_net curl -sS --max-time 60 -o /dev/null http://127.0.0.1:8081/passwd
}

@test "--live-restore: containers go on while the daemon is gone; then other flags" {
    local pid
    docker run -d --name "$N" --restart no busybox sleep 600
    pid=$(docker inspect -f '{{.State.Pid}}' "$N")
    # shellcheck disable=SC2086
    both_flags $SECOND
    [ "$SUBJECT" = engine ] && { same "$pid" "$(docker inspect -f '{{.State.Pid}}' "$N")"; }
    docker kill "$N" || true
}

@test "--log-driver local: the file of that driver, read back by logs" {
    second_flags
    docker run --name "$N" busybox echo kept
    same local "$(docker inspect -f '{{.HostConfig.LogConfig.Type}}' "$N")"
    same kept "$(docker logs "$N")"
}

@test "--iptables=false, --ip-masq=false: ports are published by the proxy" {
    second_flags
    docker run -d --name "$N" -p 8082:80 busybox httpd -f -h /etc
    poll in_engine_net curl -sS --max-time 60 -o /dev/null http://127.0.0.1:8082/passwd
}

@test "--seccomp-profile unconfined: nothing is filtered, and /info says so" {
    second_flags
    same 0 "$(bus busybox sh -c 'sed -n "s/^Seccomp:[[:space:]]*//p" /proc/self/status')"
    contains "$(info '{{json .SecurityOptions}}')" 'name=seccomp,profile=unconfined'
}

@test "--shutdown-timeout: a container that does not listen is killed after it" {
    second_flags
    docker run -d --name "$N" busybox sh -c 'trap "" TERM; while :; do sleep 1; done'
    # shellcheck disable=SC2086
    both_flags $SECOND
    same 'exited 137' "$(docker inspect -f '{{.State.Status}} {{.State.ExitCode}}' "$N")"
}

@test "--bridge none: no default network, containers have loopback alone, the machine forwards for networks to come" {
    subject sh -c 'echo 0 >/proc/sys/net/ipv4/ip_forward'
    # shellcheck disable=SC2086
    both_flags $SECOND --ip-forward=true --bridge none
    same 1 "$(subject cat /proc/sys/net/ipv4/ip_forward)"
    same 'host none' "$(docker network ls --format '{{.Name}}' | sort | paste -sd' ')"
    same lo "$(bus busybox ls /sys/class/net)"
}

@test "--fixed-cidr outside of --bip: left out here, shown by the reference" {
    local want='10.1.0.0/24 '
    [ "$SUBJECT" = engine ] || want+=10.2.0.0/25
    both_flags --bip 10.1.0.1/24 --fixed-cidr 10.2.0.0/25
    same "$want" "$(docker network inspect bridge -f '{{range .IPAM.Config}}{{.Subnet}} {{.IPRange}}{{end}}')"
}

@test "--storage-driver vfs: plain copies, on a data root of its own" {
    local again="$SECOND --storage-driver vfs"
    if [ "$SUBJECT" = engine ]; then
        run ! env ENGINE_FLAGS="$again" "$CI/lab" restart engine 3>&-
        contains "$(tail -n 5 "$ENGINE_LOG")" 'the data root /var/lib/docker holds images of overlay2, and the storage driver is vfs'
    fi
    ENGINE_FLAGS="$again" REFERENCE_FLAGS="$again" "$CI/lab" restart "$SUBJECT" --fresh >&2 3>&-
    same vfs "$(info '{{.Driver}}')"
    need_image busybox
    same hello "$(bus busybox sh -c 'echo hello >/etc/x; cat /etc/x')"
    same vfs "$(docker image inspect -f '{{.GraphDriver.Name}}' busybox)"
}
