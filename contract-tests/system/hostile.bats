#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Images and archives that must be refused (odd-images has the table): a clear error, no image, nothing touched outside, the space given back. In a lab of its own.
load helpers

setup_file() {
    only_ours_file "it hangs, or fills the disk, on some of these" || return 0
    own_lab engine
}
setup() {
    begin_test
    CANARY=$ENGINE_SHARE/canary
    mkdir -p "$CANARY"
    echo alive >"$CANARY/file"
}
teardown() { end_jobs; }

# What must stay as it is: the machine's files that the archives point at, and who may what.
outside() {
    (
        cd / && stat -c '%n %i %a %u:%g %s %Y' etc/passwd etc/canary etc/z tmp/z "$CANARY" "$CANARY/file" 2>&1
        inside ls -la /etc /srv /srv/lab
    ) || true
}
used() { du -s --apparent-size -k "$ENGINE_ROOT/overlay2" "$ENGINE_ROOT/content" "$ENGINE_ROOT/tmp" 2>/dev/null | awk '{ n += $1 } END { print n + 0 }'; }
space_is_back() { [ "$(used)" -le $(($1 + 64)) ]; }
nothing_came() { # USED OUTSIDE WHAT
    same '' "$(docker images -aq)" "$3"
    same "$2" "$(outside)" "$3"
    poll space_is_back "$1" || fail "$3 left something: $(find "$ENGINE_ROOT/overlay2" "$ENGINE_ROOT/content" "$ENGINE_ROOT/tmp" | head)"
}

# serve KIND: a registry with these images of odd-images; sets NAMES and PORT
serve() {
    local state=$BATS_TEST_TMPDIR/state names
    mkdir "$state"
    "$BATS_TEST_DIRNAME/odd-images" "$1" "$BATS_TEST_TMPDIR/images"
    mapfile -t names <"$BATS_TEST_TMPDIR/images/names"
    ip netns exec "$SUBJECT_NETNS" "$BATS_TEST_DIRNAME/test-registry" "$state" 127.0.0.1 "${names[@]}" >&2 3>&- &
    poll test -e "$state/ready"
    NAMES=("${names[@]%%=*}")
    PORT=$(cat "$state/ready")
}

@test "what registries should not send" {
    local name pattern before away
    serve hostile
    before=$(used) away=$(outside)
    while IFS=$'\t' read -r name pattern; do
        request POST "/v1.45/images/create?fromImage=127.0.0.1:$PORT/$name&tag=latest"
        [[ $(tail -n 1 <<<"$BODY") =~ (errorDetail|message).*($pattern) ]] || fail "$name: $(tail -n 2 <<<"$BODY" | cut -c1-500)"
        nothing_came "$before" "$away" "$name"
    done <"$BATS_TEST_TMPDIR/images/expect"
    request GET /_ping
    same 200 "$STATUS"
}

@test "what looks for a way out ends inside, by pull and run, cp and save" {
    local name id away before
    serve harmless
    before=$(used) away=$(outside)
    for name in "${NAMES[@]}"; do
        request POST "/v1.45/images/create?fromImage=127.0.0.1:$PORT/$name&tag=latest"
        same 200 "$STATUS" "$name"
        same "$away" "$(outside)" "$name: pull"
        # Refused or not, clearly. What came must bear what is done with images.
        if [[ $BODY != *'Downloaded newer image'* ]]; then
            [[ $BODY == *errorDetail* ]] || fail "$name: $BODY"
            nothing_came "$before" "$away" "$name"
            continue
        fi
        docker save "127.0.0.1:$PORT/$name" | tar -tf - >/dev/null
        id=$(docker create --network none "127.0.0.1:$PORT/$name" x)
        docker export "$id" | tar -tf - >"$BATS_TEST_TMPDIR/inside"
        ! docker start "$id" 2>/dev/null || fail "$name: there is nothing to run in it"
        docker cp "$BATS_TEST_TMPDIR/inside" "$id:/l/canary" >/dev/null 2>&1 || true
        docker cp "$id:/l/canary" - >/dev/null 2>&1 || true
        same "$away" "$(outside)" "$name: use"
        docker rm "$id" >/dev/null
        docker rmi "127.0.0.1:$PORT/$name" >/dev/null
        nothing_came "$before" "$away" "$name"
    done
}

@test "what archives should not hold" {
    local verb file pattern before away
    "$BATS_TEST_DIRNAME/odd-images" archives "$BATS_TEST_TMPDIR/archives"
    before=$(used) away=$(outside)
    while IFS=$'\t' read -r verb file pattern; do
        case $verb in
        load) set -- load -qi "$BATS_TEST_TMPDIR/archives/$file" ;;
        *) set -- import "$BATS_TEST_TMPDIR/archives/$file" ;;
        esac
        run docker "$@"
        [ "$status" = 1 ] || fail "$file: exit $status, $output"
        [[ $output =~ ($pattern) ]] || fail "$file: $output"
        nothing_came "$before" "$away" "$file"
    done <"$BATS_TEST_TMPDIR/archives/expect"
    request GET /_ping
    same 200 "$STATUS"
}
