# Builds a root that holds nothing but what it is told, and runs a command in it with no way back: sandbox.py's own
# substitute for bubblewrap. Runs in a fresh mount namespace, as root of the machine or of a user namespace.
#   namespaces.sh UID SIZE PATH... -- COMMAND...
# UID: the user to become, where the server is root; else "". SIZE: bytes of the working folder. PATH: shown, read-only.
set -eu
uid=$1 size=$2
shift 2
root=/tmp
mount -t tmpfs -o mode=755,size=1m,nosuid,nodev sandbox "$root"

while [ "$1" != -- ]; do
    if [ -L "$1" ]; then
        ln -s "$(readlink "$1")" "$root$1"
    else
        if [ -d "$1" ]; then mkdir -p "$root$1"; else mkdir -p "$root${1%/*}"; : > "$root$1"; fi
        mount --bind "$1" "$root$1"
        case $1 in
            /dev/*) mount -o remount,bind,nosuid,noexec "$root$1" ;;
            *) mount -o remount,bind,ro,nosuid,nodev "$root$1" ;;
        esac
    fi
    shift
done
shift

mkdir -p "$root/tmp" "$root/proc" "$root/old"
mount -t tmpfs -o "mode=1777,size=$size,nr_inodes=4096,nosuid,nodev" sandbox "$root/tmp"
# A new /proc may only be mounted where the old one is in sight; it is covered by the new one below.
mount --rbind /proc "$root/proc"
cd "$root"
pivot_root . old
umount -l /old
rmdir /old
mount -o remount,bind,ro,nosuid,nodev /
cd /tmp

# A second user namespace, whatever the first: what was mounted is locked, and the limit on processes counts this run's only.
# Process 1 stays this shell: when the command ends, it ends, and every process left over with it.
exec setpriv ${uid:+--reuid=$uid --regid=$uid --clear-groups} --pdeathsig KILL -- \
    unshare --user --map-root-user --net --pid --ipc --uts --cgroup --fork --kill-child=KILL --mount-proc -- \
    sh -c 'echo 0 > /proc/sys/user/max_user_namespaces
        # The shell would say on its own that the command was killed.
        exec 3>&2 2> /dev/null
        (exec setpriv --no-new-privs --bounding-set=-all --inh-caps=-all --ambient-caps=-all -- "$@" 2>&3 3>&-)
        exit $?' sandbox "$@"
