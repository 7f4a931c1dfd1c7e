# Build a root file system of the given paths alone and run a command in it, without access to the old root. sandbox.py uses
# this script instead of bubblewrap. It runs in a new mount namespace, as root of the machine or of a user namespace.
#   namespaces.sh UID SIZE PATH... -- COMMAND...
# UID: the user id of the command if the server runs as root, else "". SIZE: bytes of the working folder. PATH: visible,
# read-only.
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
# A new /proc may be mounted only if the old one is visible. The new one below covers it.
mount --rbind /proc "$root/proc"
cd "$root"
pivot_root . old
umount -l /old
rmdir /old
mount -o remount,bind,ro,nosuid,nodev /
cd /tmp

# A second user namespace locks the mounts, and its limit on processes counts those of this run alone.
# The shell stays process 1: it ends when the command ends, and with it every remaining process.
exec setpriv ${uid:+--reuid=$uid --regid=$uid --clear-groups} --pdeathsig KILL -- \
    unshare --user --map-root-user --net --pid --ipc --uts --cgroup --fork --kill-child=KILL --mount-proc -- \
    sh -c 'echo 0 > /proc/sys/user/max_user_namespaces
        # Else the program could take back its first place among the processes that are ended when memory runs out.
        mount -o remount,bind,ro,nosuid,nodev,noexec /proc
        # The shell would report a killed command on stderr.
        exec 3>&2 2> /dev/null
        (exec setpriv --no-new-privs --bounding-set=-all --inh-caps=-all --ambient-caps=-all -- "$@" 2>&3 3>&-)
        exit $?' sandbox "$@"
