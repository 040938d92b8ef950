#!/bin/bash
# Starts imds-audit on a node of a cluster: a Databricks init script, an EMR bootstrap action, or a
# command of cloud-init. It always exits 0, within a second, whatever is missing: what does not work
# is one line in /opt/imds-audit/init.log.
#
#   imds-audit-init.sh [HOME] [LABEL=VALUE]...
#
# HOME has the program, as `imds-audit` or, for several architectures, `imds-audit-x86_64` and
# `imds-audit-aarch64`. Events go to HOME/events. It is a folder, such as a Unity Catalog volume, or
# s3://BUCKET/PREFIX, which takes the AWS CLI. Databricks passes no arguments: there, set the
# cluster's variables IMDS_AUDIT_HOME and, if you like, IMDS_AUDIT_LABELS="team=data env=prod", or
# change the next line. IMDS_AUDIT_EVERY is the number of seconds between two copies, if not 60 (300
# for S3: to find nothing to do takes the AWS CLI a second of processor time).
DEFAULT_HOME=/Volumes/main/default/imds-audit

# Everything of this node is in the first of these folders that can be written to.
FOLDERS=(/opt/imds-audit /var/lib/imds-audit /run/imds-audit)
# Bytes that the logs of this script and of the agent may have.
LOG_MAX=262144
UNIT=imds-audit-init.service

# Whatever the platform's shell was told, no command that fails ends the script.
set +eu
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL
umask 077

# ---- small helpers

# Prints a text on one line: no control characters, valid UTF-8, bounded.
clean() {
    printf '%s' "$1" | tr -d '\000-\037\177' | head -c "${2:-200}" |
        { iconv -c -f UTF-8 -t UTF-8 2>/dev/null || tr -cd ' -~'; }
}

# Adds a line to this script's own log.
say() {
    printf '%s %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$(clean "$*" 500)" \
        2>/dev/null >>"$base/init.log"
}

# Prints a text as a part of a path.
name_of() {
    local name
    name=$(printf '%s' "$1" | tr -c 'A-Za-z0-9._-' _ | head -c 100)
    case $name in '' | . | ..) name=unknown ;; esac
    printf '%s' "$name"
}

# Prints a text as a TOML string.
toml() {
    printf '"%s"' "$(clean "$1" | sed 's/[\\"]/\\&/g')"
}

# Prints the first text of a member in one of EMR's JSON files.
emr() {
    cat /mnt/var/lib/info/extraInstanceData.json /mnt/var/lib/info/instance.json 2>/dev/null |
        tr -d '\n' | grep -o "\"$1\" *: *\"\\{0,1\\}[A-Za-z0-9._-]*" | head -n 1 |
        sed 's/.*[": ]//'
}

# Tells whether a supervisor of this node runs.
is_running() {
    [ -e "$base/lock" ] && ! flock -n "$base/lock" true
}

# ---- the script as the platform runs it

main() {
    local folder
    local -a more
    read -ra more <<<"${IMDS_AUDIT_LABELS-}"
    if [ "$(id -u)" != 0 ]; then
        # EMR runs bootstrap actions as a user that may use sudo.
        sudo -n /bin/bash "$0" "${1:-${IMDS_AUDIT_HOME:-$DEFAULT_HOME}}" "${@:2}" "${more[@]}" ||
            echo "imds-audit: not started: this needs root"
        return
    fi
    for folder in "${FOLDERS[@]}"; do
        base=$folder
        # Nobody else may have made it; a full disk shows when something is written.
        if mkdir -p "$base/events" && [ -O "$base" ] && [ ! -L "$base" ] &&
            chmod 700 "$base" && echo >"$base/probe"; then
            rm -f "$base/probe"
            break
        fi 2>/dev/null
        base=
    done
    if [ -z "$base" ]; then
        echo "imds-audit: not started: none of ${FOLDERS[*]} can be written to"
        return
    fi
    if ! command -v flock >/dev/null || ! command -v timeout >/dev/null; then
        say "not started: there is no flock (util-linux) or no timeout (coreutils)"
    else
        # A second start waits until the first has begun, and then sees that it has.
        exec 8>"$base/start.lock"
        if ! flock -w 0.9 8; then
            say "another start is under way; nothing changed"
        elif is_running; then
            say "runs already; nothing changed"
        elif ! cat -- "$0" >"$base/init.sh.$$" || ! mv "$base/init.sh.$$" "$base/init.sh" ||
            ! settings "$1" "${@:2}" "${more[@]}" >"$base/settings.$$" ||
            ! mv "$base/settings.$$" "$base/settings"; then
            say "not started: $base cannot be written to"
        else
            begin
        fi
    fi 2>/dev/null
    echo "imds-audit: $(tail -n 1 "$base/init.log")"
}

# Starts the rest apart, so that nothing that is slow can delay the launch, and waits up to 0.8 s until
# the audit is attached, so that what runs next is seen.
begin() {
    local step
    rm -f "$base/state"
    if ! by_systemd; then
        setsid /bin/bash "$base/init.sh" --launch "$base" </dev/null >/dev/null 2>&1 8>&- &
    fi
    for ((step = 0; step < 16; step++)); do
        if [ -e "$base/state" ]; then
            return
        fi
        sleep 0.05
    done
    say "the launch goes on; the audit is not attached yet"
}

# Has systemd start the rest, where it runs: what is left of a service that has ended, as the
# platform's may be, is killed with it.
by_systemd() {
    [ -d /run/systemd/system ] && command -v systemd-run >/dev/null &&
        timeout 0.5 systemd-run --quiet --no-block --collect --property=DefaultDependencies=no \
            /bin/bash "$base/init.sh" --launch "$base"
} </dev/null >/dev/null 2>&1 8>&-

# Prints where the program is, where events go, and the agent's configuration, as shell variables.
settings() {
    local home=${1:-${IMDS_AUDIT_HOME:-$DEFAULT_HOME}} cluster node id label every
    local -a labels=()
    shift
    home=${home%/}
    # What another life of this disk copied stays what it is: each disk has names of its own.
    id=$(sed -n 's/^id=\([A-Za-z0-9-]*\)$/\1/p' "$base/settings" 2>/dev/null)
    id=${id:-$(date -u +%Y%m%dT%H%M%SZ)-$(od -An -N4 -tx4 /dev/urandom | tr -d ' ')}

    if [ -n "${DB_CLUSTER_ID-}" ]; then
        cluster=$DB_CLUSTER_ID
        node=${DB_CONTAINER_IP:-$(hostname)}
        labels+=("platform=databricks" "cluster_name=${DB_CLUSTER_NAME-}")
        case ${DB_IS_DRIVER-} in
            TRUE | true) labels+=(role=driver) ;;
            *) labels+=(role=executor) ;;
        esac
        # The platform names a job's cluster so.
        if [[ ${DB_CLUSTER_NAME-} =~ ^job-([0-9]+)-run-([0-9]+) ]]; then
            labels+=("job=${BASH_REMATCH[1]}" "run=${BASH_REMATCH[2]}")
        fi
    elif [ -d /mnt/var/lib/info ]; then
        cluster=$(emr jobFlowId)
        node=$(hostname)
        labels+=(platform=emr)
        case $(emr isMaster) in
            true) labels+=(role=master) ;;
            *) labels+=(role=worker) ;;
        esac
        label=$(emr releaseLabel)
        [ -z "$label" ] || labels+=("release=$label")
    else
        node=$(hostname)
    fi
    labels+=("$@")
    for label in "${labels[@]}"; do
        [ -n "$cluster" ] || case $label in cluster=*) cluster=${label#cluster=} ;; esac
    done

    case ${IMDS_AUDIT_EVERY-} in
        '' | *[!0-9]* | 0*) [[ $home == s3://* ]] && every=300 || every=60 ;;
        *) every=${IMDS_AUDIT_EVERY:0:6} ;;
    esac
    printf 'id=%s\nhome=%q\nevery=%s\n' "$id" "$home" "$every"
    printf 'target=%q\n' "$home/events/cluster=$(name_of "$cluster")/host=$(name_of "$node")"
    printf 'config=%q\n' "$(configuration "$id" "cluster=$cluster" "node=$node" "${labels[@]}")"
}

# Prints the agent's configuration. What proves coverage has a file of its own, which a flood of
# requests cannot push out.
configuration() {
    local id=$1 label
    local -A seen=()
    printf 'tally_interval = "5m"\n[labels]\n'
    for label in "${@:2}"; do
        # The platform's own labels come first, and none twice.
        if [[ $label =~ ^([A-Za-z0-9_./-]{1,64})=(.+)$ ]] && [ -z "${seen[${BASH_REMATCH[1]}]-}" ]; then
            seen[${BASH_REMATCH[1]}]=1
            printf '"%s" = %s\n' "${BASH_REMATCH[1]}" "$(toml "${BASH_REMATCH[2]}")"
        fi
    done
    output events "$id" '"request", "connection"' 128MiB
    output tallies "$id" '"start", "stop", "tally", "loss"' 32MiB
}

output() {
    printf '[[output]]\ntype = "file"\nname = "%s"\nkinds = [%s]\npath = %s\n' \
        "$1" "$3" "$(toml "$base/events/$1-$2.jsonl")"
    printf 'max_size = "4MiB"\nmax_age = "1day"\nmax_total_size = "%s"\n' "$4"
}

# ---- what goes on without the platform

# Hands over to systemd where it runs, and does its work otherwise.
launch() {
    local units=/etc/systemd/system runtime=''
    if [ -d /run/systemd/system ] && command -v systemctl >/dev/null; then
        if ! unit >"$units/$UNIT"; then
            units=/run/systemd/system
            runtime=--runtime
            unit >"$units/$UNIT"
        fi 2>/dev/null
        # shellcheck disable=SC2086 # none at all, or one
        if timeout 20 systemctl enable --quiet $runtime "$UNIT" &&
            timeout 20 systemctl start --no-block "$UNIT"; then
            return
        fi 2>/dev/null
        say "systemd does not start $UNIT; the script runs the audit itself"
    fi
    supervise
}

# Prints the unit. It waits for as little as it can, so that it may be started while the host boots,
# and ends before what it copies to does.
unit() {
    local home='' mount after
    # shellcheck source=/dev/null
    home=$(. "$base/settings" && printf '%s' "$home")
    case $home in
        s3://*) after=network.target ;;
        *)
            mount=$(timeout 5 findmnt --noheadings --output TARGET --target "$home" 2>/dev/null)
            after=$(systemd-escape --path --suffix=mount "${mount:-/}")
            ;;
    esac
    cat <<END
[Unit]
Description=Audit of requests to the EC2 instance metadata service, with copies of its events
DefaultDependencies=no
After=$after
Conflicts=shutdown.target
Before=shutdown.target

[Service]
ExecStart=/bin/bash $base/init.sh --supervise $base
Restart=on-failure
RestartSec=5s
# The script ends the agent, and copies what it wrote last.
KillMode=mixed
TimeoutStopSec=40s
UMask=0077

[Install]
WantedBy=multi-user.target
END
}

# Runs the agent and copies its events until SIGTERM, or until the host has refused it.
supervise() {
    id='' home='' target='' config='' every=60
    agent='' stopping='' fetching=''
    exec 9>"$base/lock"
    flock -n 9 || return 0
    # shellcheck source=/dev/null
    . "$base/settings" || return 0
    end_leftovers
    mkdir -p "$base/events" "$base/out"
    printf '%s\n' "$config" >"$base/agent.toml"
    trap 'end_agent' TERM INT HUP
    copier 9>&- &
    copying=$!
    echo "$copying" >"$base/copier.pid"
    if fetch; then
        run_agent
    fi
    echo ended >"$base/state"
    end "$copying" 5
    [ -z "$stopping" ] || say "ended, as it was asked to"
    copy 20
}

# Ends what a supervisor that was killed has left.
end_leftovers() {
    local file pid
    for file in "$base/agent.pid" "$base/copier.pid"; do
        pid=$(cat "$file" 2>/dev/null)
        rm -f "$file"
        case $pid in '' | *[!0-9]*) continue ;; esac
        # Another process may have the number now.
        if tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" |
            grep -q -e "^$base/imds-audit agent " -e "^/bin/bash $base/init.sh "; then
            say "ends process $pid, which a script that was killed has left"
            end "$pid" 10
        fi
    done
}

# Ends a process, by force if it takes more than so many seconds.
end() {
    kill "$1" 2>/dev/null
    timeout "$2" tail --pid="$1" -f /dev/null || kill -9 "$1" 2>/dev/null
} 9>&-

# Waits until a child ends, also where a signal interrupts that, and returns its exit code.
reap() {
    local code
    while :; do
        wait "$1"
        code=$?
        kill -0 "$1" 2>/dev/null || return "$code"
    done
}

# Sleeps, and wakes up for a signal.
doze() {
    sleep "$1" 9>&- &
    napping=$!
    wait "$napping"
    kill "$napping" 2>/dev/null
}

# shellcheck disable=SC2317 # a trap calls it
end_agent() {
    stopping=1
    if [ -n "$agent" ]; then
        # One that hangs would keep the last copy from being made.
        end "$agent" 10 >/dev/null 2>&1 &
    fi
    [ -z "$fetching" ] || kill "$fetching" 2>/dev/null
}

# Copies the program to this disk. The volume may come later than this script.
fetch() {
    local attempt name said='' error
    for ((attempt = 0; attempt < 30; attempt++)); do
        for name in "imds-audit-$(uname -m)" imds-audit; do
            get "$home/$name" "$base/imds-audit.new" 9>&- 2>"$base/error" &
            fetching=$!
            if reap "$fetching" && [ -s "$base/imds-audit.new" ] &&
                chmod 700 "$base/imds-audit.new" &&
                mv "$base/imds-audit.new" "$base/imds-audit"; then
                fetching=
                return 0
            fi
            fetching=
            rm -f "$base/imds-audit.new"
            [ -z "$stopping" ] || return 1
        done
        error=$(reason)
        if [ -x "$base/imds-audit" ]; then
            say "cannot read $home/imds-audit, goes on with the copy of last time: $error"
            return 0
        fi
        if [ -z "$said" ]; then
            say "cannot read $home/imds-audit, tries for five minutes: $error"
            said=1
            echo waiting >"$base/state"
        fi
        doze 10
        [ -z "$stopping" ] || return 1
    done
    say "gives up: there is no program"
    return 1
}

get() {
    case $1 in
        s3://*) timeout 120 aws s3 cp --only-show-errors "$1" "$2" ;;
        *) timeout 120 cp -- "$1" "$2" ;;
    esac
}

# Prints what the last command that failed said, without the paths in it.
reason() {
    local line
    line=$(grep . "$base/error" 2>/dev/null | tail -n 1)
    case $line in
        cp:* | mv:* | mkdir:* | rm:*) line=${line##*: } ;;
    esac
    clean "${line:-it took too long}" 200
}

# Runs the agent until SIGTERM; one that ends is started again, one that the host refuses is not.
run_agent() {
    local code pause=1
    while [ -z "$stopping" ]; do
        : >"$base/agent.log"
        # The cluster's variables may be secrets: the agent gets none of them.
        env -i "PATH=$PATH" "$base/imds-audit" agent --config "$base/agent.toml" \
            </dev/null >/dev/null 2>>"$base/agent.log" 9>&- &
        agent=$!
        echo "$agent" >"$base/agent.pid"
        [ -z "$stopping" ] || kill "$agent" 2>/dev/null
        note_attached
        reap "$agent"
        code=$?
        agent=
        rm -f "$base/agent.pid"
        [ -z "$stopping" ] || return
        case $code in
            126 | 127)
                # What the kernel does not take for a program a shell reads as a script.
                say "cannot audit here (exit code $code): the program is not one for $(uname -m)"
                return
                ;;
            2 | 4)
                say "cannot audit here (exit code $code): $(grep -v INFO "$base/agent.log" | head -n 1)"
                return
                ;;
        esac
        say "the agent ended with $code, starts again after $pause s"
        doze "$pause"
        pause=$((pause < 30 ? pause * 2 : 60))
    done
}

# Waits until the agent is attached, or has ended, and says so once.
note_attached() {
    local step
    for ((step = 0; step < 600; step++)); do
        if grep -q ' attached ' "$base/agent.log"; then
            say "attached; events go to $target every $every s"
            echo attached >"$base/state"
            return
        fi
        kill -0 "$agent" 2>/dev/null || return
        sleep 0.05 9>&-
    done
}

# ---- copies

# Copies at intervals, until the supervisor ends it or is gone.
copier() {
    local parent=$$
    trap 'kill "${napping-}" 2>/dev/null; exit 0' TERM INT HUP
    while kill -0 "$parent" 2>/dev/null; do
        doze "$every"
        copy 45
    done
}

# Copies what is new, within so many seconds. Says it once where that fails, and once where it works
# again.
copy() {
    local now
    keep_logs_short
    stage
    now=$(cd "$base/out" && stat -c '%n %s' -- * 2>/dev/null)
    if [ "$now" = "$(cat "$base/copied" 2>/dev/null)" ]; then
        return
    fi
    if put "$1" 2>"$base/error"; then
        printf '%s\n' "$now" >"$base/copied"
        if [ -e "$base/failing" ]; then
            rm -f "$base/failing"
            say "copies to $target work again"
        fi
    elif [ ! -e "$base/failing" ]; then
        : >"$base/failing"
        say "cannot copy to $target, tries on: $(reason)"
    fi
} 9>&-

keep_logs_short() {
    local log
    for log in "$base/init.log" "$base/agent.log"; do
        if [ "$(stat -c %s "$log" 2>/dev/null || echo 0)" -gt "$LOG_MAX" ]; then
            # The agent goes on in the same file.
            : >"$log"
        fi
    done
}

# Lays out what the target shall have: whole lines of what is being written to, and both logs under
# names that neither Spark nor `report` reads.
stage() {
    local file name
    for file in "$base"/out/*; do
        name=${file##*/}
        [ -e "$base/events/$name" ] || rm -f "$file"
    done
    for file in "$base"/events/*.jsonl.*; do
        [ ! -e "$file" ] || ln -f "$file" "$base/out/" 2>/dev/null
    done
    for file in "$base"/events/*.jsonl; do
        [ -s "$file" ] || continue
        name=$base/out/${file##*/}
        # A new file: the old one may be a rotated one by now, under two names.
        rm -f "$name"
        if ! cp -- "$file" "$name" || { [ -n "$(tail -c 1 "$name")" ] && ! sed -i '$d' "$name"; }; then
            rm -f "$name"
        fi 2>/dev/null
    done
    cp "$base/init.log" "$base/out/_init.txt" 2>/dev/null
    cp "$base/agent.log" "$base/out/_agent.txt" 2>/dev/null
}

# Brings the target up to date; removes from it what was removed here, which bounds it.
put() {
    local file name temporary=$target/.copy-$id.tmp deadline=$((SECONDS + $1))
    case $target in
        s3://*)
            timeout "$1" aws s3 sync --only-show-errors --delete --exclude '*' \
                --include "*-$id.jsonl*" --include '_*.txt' "$base/out" "$target"
            return
            ;;
    esac
    # A volume that is not mounted is not made on this disk.
    if [ ! -d "$home" ]; then
        echo "there is no folder $home" >&2
        return 1
    fi
    timeout "$1" mkdir -p -- "$target" || return
    for file in "$base"/out/*; do
        name=${file##*/}
        if [ ! -e "$file" ] ||
            [ "$(stat -c %s "$file")" = "$(timeout 10 stat -c %s "$target/$name" 2>/dev/null)" ]; then
            continue
        elif [ "$SECONDS" -ge "$deadline" ]; then
            echo "it took too long" >&2
            return 1
        elif ! { timeout "$1" cp -- "$file" "$temporary" &&
            timeout 10 mv -f -- "$temporary" "$target/$name"; }; then
            timeout 10 rm -f -- "$temporary" 2>/dev/null
            return 1
        fi
    done
    for file in "$target"/*-"$id".jsonl*; do
        [ -e "$base/out/${file##*/}" ] || timeout 10 rm -f -- "$file"
    done
}

case ${1-} in
    --launch)
        base=$2
        launch
        ;;
    --supervise)
        base=$2
        supervise
        ;;
    *) (main "$@") || : ;;
esac
exit 0
