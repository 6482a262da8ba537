#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What `docker system df` says of images and containers is what lies on the disk, counted file by file.
load helpers

setup() {
    begin_test
    HOLDER=$ENGINE_HOLDER_PID
    [ "$SUBJECT" != reference ] || HOLDER=$REFERENCE_HOLDER_PID
    need_image busybox semantics configured
}

# bytes_in FOLDER...: of all files and links below, as `du --apparent-size` counts them: each file once however many names it has
bytes_in() {
    nsenter -t "$HOLDER" -m find "$@" '(' -type f -o -type l ')' -printf '%D:%i %s\n' | sort -u | awk '{ n += $2 } END { print n + 0 }'
}
# layers_of IMAGE...: the folders of their layers, each once
layers_of() {
    docker image inspect -f '{{.GraphDriver.Data.UpperDir}}{{with .GraphDriver.Data.LowerDir}}:{{.}}{{end}}' "$@" | tr ':' '\n' | sort -u
}
df() { request GET /v1.45/system/df && /usr/bin/python3 -c "import json, sys; d = json.loads(sys.argv[1]); print($1)" "$BODY"; }

@test "an image has the size of its layers' files" {
    local name
    for name in busybox semantics configured; do
        # shellcheck disable=SC2046
        same "$(bytes_in $(layers_of $name))" "$(docker image inspect -f '{{.Size}}' $name)" "$name"
    done
}

sum_is_right() {
    local ids
    ids=$(docker images -aq --no-trunc | sort -u)
    # shellcheck disable=SC2046,SC2086
    same "$(bytes_in $(layers_of $ids))" "$(df 'd["LayersSize"]')" "LayersSize"
}
@test "what all layers take is what lies there" {
    docker tag busybox "$N:shared"
    sum_is_right
    docker create --name "$N" busybox x
    head -c 100000 /dev/zero >"$BATS_TEST_TMPDIR/f"
    docker cp "$BATS_TEST_TMPDIR/f" "$N:/f"
    docker commit "$N" "$N:made"
    sum_is_right
    docker rm "$N"
    docker rmi "$N:made" "$N:shared"
    poll sum_is_right
}

@test "a container has the size of the files it wrote, a volume of those in it" {
    docker run --name "$N" -v "$N:/v" busybox sh -c 'dd if=/dev/zero of=/a bs=1000 count=77; ln /a /b; dd if=/dev/zero of=/v/c bs=1000 count=33' >&2
    same "$(bytes_in "$(docker inspect -f '{{.GraphDriver.Data.UpperDir}}' "$N")")" "$(df "[c['SizeRw'] for c in d['Containers'] if c['Names'] == ['/$N']][0]")" SizeRw
    same 33000 "$(df "[v['UsageData']['Size'] for v in d['Volumes'] if v['Name'] == '$N'][0]")" volume
}
