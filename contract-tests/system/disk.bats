#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A full disk: the reference's message, nothing half-made, the space given back. In a lab of its own, whose data root is 60 MB.
load helpers

setup_file() {
    only_ours_file "starts this engine's daemon" || return 0
    own_lab registry engine
    kill -TERM "$(engine_pid)"
    poll test ! -d "/proc/$(engine_pid)"
    inside mount -t tmpfs -o size=60m,mode=711 tmpfs /var/lib/docker
    own_start
    need_image busybox
}

used() { inside df --output=used /var/lib/docker | tail -n 1 | tr -d ' '; }
# as_before KB: not more than a database page or two is in use beyond what was
space_is_back() { [ "$(used)" -le $(($1 + 400)) ]; }
leftovers() { inside find /var/lib/docker -mindepth 2 \( -name '*tmp*' -o -name '*.part' -o -name 'GetImageBlob*' \) -type f | head; }

@test "pull: status, message, nothing half-made, space back; then a pull that fits works" {
    local before images
    before=$(used)
    images=$(docker images -aq | sort)
    run -1 docker pull layers12
    contains "$output" 'no space left on device'
    same "$images" "$(docker images -aq | sort)"
    poll space_is_back "$before"
    same '' "$(leftovers)"
    run -0 docker pull "$REGISTRY/hello-world"
    docker rmi "$REGISTRY/hello-world"
    poll space_is_back "$before"
}

@test "pull by the API: 200, and the error is the stream's last message" {
    request POST '/v1.45/images/create?fromImage=layers12&tag=latest'
    same 200 "$STATUS"
    [[ $(tail -n 1 <<<"$BODY") =~ ^\{\"errorDetail\":\{\"message\":\".*no\ space\ left\ on\ device\"\},\"error\":\".*no\ space\ left\ on\ device\"\}.?$ ]] || fail "$(tail -n 1 <<<"$BODY")"
}

@test "load: exit 1, message, nothing half-made, space back" {
    local before images
    before=$(used)
    images=$(docker images -aq | sort)
    run -1 docker load -i "$IMAGES/layers12/docker.tar"
    contains "$output" 'no space left on device'
    same "$images" "$(docker images -aq | sort)"
    poll space_is_back "$before"
    same '' "$(leftovers)"
}

@test "a container that fills the disk gets ENOSPC; the engine goes on; rm gives the space back" {
    local before
    before=$(used)
    run -1 docker run --name "$N" busybox dd if=/dev/zero of=/f bs=1M count=100
    contains "$output" 'No space left on device'
    # With the disk full: looking still works, starting is refused or works, but the daemon lives.
    request GET /v1.45/containers/json?all=1
    same 200 "$STATUS"
    docker inspect "$N" >/dev/null
    docker rm -f "$N"
    poll space_is_back "$before"
    same still "$(docker run --rm --name "$N-2" busybox echo still)"
}

@test "a full disk at create and start: refused or done, never half" {
    local i before code
    before=$(used)
    docker run -d --name "$N-fill" busybox sh -c 'dd if=/dev/zero of=/f bs=64k; sync; sleep 1000'
    poll eval "[ \$(inside df --output=avail /var/lib/docker | tail -n 1) -lt 64 ]"
    for i in 1 2 3 4 5; do
        code=0
        docker create --name "$N-$i" busybox true >"$BATS_TEST_TMPDIR/out" 2>&1 || code=$?
        if [ $code != 0 ]; then
            contains "$(cat "$BATS_TEST_TMPDIR/out")" 'no space left on device' || contains "$(cat "$BATS_TEST_TMPDIR/out")" 'full'
            gone "$N-$i" || fail "refused, yet there: $N-$i"
        else
            docker inspect "$N-$i" >/dev/null
        fi
    done
    docker rm -f "$N-fill"
    docker ps -aq --filter "name=$N" | xargs -r "$CLI" -H "$ENGINE_HOST" rm -f >/dev/null
    poll space_is_back "$before"
    same still "$(docker run --rm --name "$N" busybox echo still)"
}

@test "archives that swell: refused when the space is gone, which comes back; what fits is taken" {
    local verb file pattern before
    "$BATS_TEST_DIRNAME/odd-images" bombs "$BATS_TEST_TMPDIR/bombs"
    before=$(used)
    while IFS=$'\t' read -r verb file pattern; do
        case $verb in
        load) set -- load -qi "$BATS_TEST_TMPDIR/bombs/$file" ;;
        *) set -- import "$BATS_TEST_TMPDIR/bombs/$file" ;;
        esac
        run docker "$@"
        contains "$output" "${pattern:-Loaded image: zeros:latest}"
        same "$([ -z "$pattern" ] || echo 1)" "${status#0}" "$file"
        [ -n "$pattern" ] || docker rmi zeros >/dev/null
        poll space_is_back "$before"
        same '' "$(leftovers)" "$file"
    done <"$BATS_TEST_TMPDIR/bombs/expect"
}
