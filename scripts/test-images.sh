#!/bin/bash
# Builds the images that tests run in pods, under upstream's names, from Debian packages and the pinned Kubernetes
# module, and saves them as one archive for `docker load`. They are never part of the bundle.
#
#   scripts/test-images.sh [OUT.tar]      default: ${XDG_CACHE_HOME:-~/.cache}/junioadm/test-images.tar
#
# Needs root, a running Docker Engine, mmdebstrap, Go, gcc and make. Nothing is done when the archive is up to date.
set -euo pipefail

source_dir=$(cd "$(dirname "$0")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/junioadm
out=${1:-$cache/test-images.tar}
work=$cache/test-images
registry=registry.k8s.io/e2e-test-images
agnhost=$registry/agnhost:2.63.0
busybox=$registry/busybox:1.37.0-1
nginx=$registry/nginx:1.27-0
suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-bookworm}")

log() { echo "test-images: $*" >&2; }

stamp=$(cat "$0" "$source_dir/bundle/go/kubernetes/go.mod" | sha256sum | cut -d' ' -f1)
if [ -s "$out" ] && [ "$(cat "$out.stamp" 2>/dev/null)" = "$stamp" ]; then
    log "$out is up to date"
    exit 0
fi
mkdir -p "$work"
cd "$work"

# debian_root OUT.tar PACKAGES: a small Debian root file system.
debian_root() {
    [ -s "$1" ] && return
    log "mmdebstrap $suite with $2"
    mmdebstrap --quiet --variant=minbase --mode=root --include="$2" --aptopt='APT::Install-Recommends "false"' \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        --dpkgopt='path-exclude=/usr/share/doc/*' "$suite" "$1.part.tar"
    mv "$1.part.tar" "$1"
}

# Of upstream's source without Debian's patches: one of these drops environment variables whose names are no shell
# identifiers, which pods are allowed to have. Dynamic: a static glibc busybox cannot resolve names.
compile_busybox() {
    [ -x busybox ] && return
    log "compiling busybox 1.37.0"
    rm -rf busybox-source && mkdir -p busybox-source/lists/partial
    local uri
    uri=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m1 '/debian/$')
    echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri trixie main" >busybox-source/sources.list
    local apt=(apt-get --quiet=2 -o "Dir::Etc::sourcelist=$work/busybox-source/sources.list" -o Dir::Etc::sourceparts=/dev/null
        -o "Dir::State::lists=$work/busybox-source/lists" -o APT::Sandbox::User=root)
    "${apt[@]}" update
    (cd busybox-source && "${apt[@]}" source --download-only busybox)
    tar -C busybox-source -xjf busybox-source/busybox_1.37.0.orig.tar.bz2
    (
        cd busybox-source/busybox-1.37.0
        make defconfig
        # tc does not compile with the kernel headers of today
        sed -i 's/^CONFIG_TC=y/# CONFIG_TC is not set/; s/^CONFIG_FEATURE_TC_INGRESS=y/# CONFIG_FEATURE_TC_INGRESS is not set/' .config
        (yes '' || true) | make oldconfig
        make -j"$(nproc)" busybox
    ) >busybox-source/build.log 2>&1 || { tail -20 busybox-source/build.log >&2; return 1; }
    cp busybox-source/busybox-1.37.0/busybox busybox
}

path='PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

build_agnhost() {
    debian_root base.tar bash,curl,ca-certificates,dnsutils,netcat-openbsd,iproute2,iputils-ping,procps,hostname,busybox,iperf
    log "go build agnhost"
    local module
    module=$(cd "$source_dir/bundle/go/kubernetes" && go mod download k8s.io/kubernetes && go list -m -f '{{.Dir}}' k8s.io/kubernetes)
    (cd "$source_dir/bundle/go/kubernetes" && CGO_ENABLED=0 GOFLAGS='-buildvcs=false -mod=readonly' \
        go build -tags reference -trimpath -ldflags '-s -w' -o "$work/agnhost" k8s.io/kubernetes/test/images/agnhost)
    rm -rf root && mkdir root
    tar -C root -xf base.tar
    rm -rf root/var/lib/apt/lists/* root/var/cache/apt/* root/dev/*
    local applet directory
    for applet in $(chroot root /bin/busybox --list); do
        for directory in usr/bin usr/sbin bin sbin usr/local/bin; do
            if [ -e "root/$directory/$applet" ] || [ -L "root/$directory/$applet" ]; then continue 2; fi
        done
        ln -s /bin/busybox "root/usr/bin/$applet"
    done
    cp agnhost root/agnhost
    ln -s agnhost root/agnhost-2
    mkdir -p root/uploads root/var/registry
    install -m 0644 "$module"/test/images/agnhost/porter/localhost.{crt,key} root/
    echo 'user-defined-in-image:x:1000:1000::/home/user-defined-in-image:/bin/sh' >>root/etc/passwd
    echo 'user-defined-in-image:x:1000:' >>root/etc/group
    echo 'group-defined-in-image:x:50000:user-defined-in-image' >>root/etc/group
    tar -C root -c . | docker import --change "ENV $path" --change 'ENTRYPOINT ["/agnhost"]' --change 'CMD ["pause"]' \
        --change 'EXPOSE 80 8080 8081 9376 5000' - "$agnhost" >/dev/null
}

build_busybox() {
    compile_busybox
    rm -rf bb && mkdir -p bb/bin bb/etc bb/tmp bb/home bb/root bb/run bb/var bb/lib64 bb/usr/bin bb/usr/sbin bb/usr/lib/x86_64-linux-gnu
    chmod 1777 bb/tmp
    ln -s usr/lib bb/lib
    ln -s ../run bb/var/run
    cp busybox bb/bin/
    local library applet
    for library in libc.so.6 libresolv.so.2 libm.so.6; do
        cp -L "/lib/x86_64-linux-gnu/$library" bb/usr/lib/x86_64-linux-gnu/
    done
    cp -L /lib64/ld-linux-x86-64.so.2 bb/lib64/
    for applet in $(./busybox --list); do
        [ "$applet" = busybox ] || ln -s busybox "bb/bin/$applet"
    done
    printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n' >bb/etc/passwd
    printf 'root:x:0:\nnobody:x:65534:\n' >bb/etc/group
    printf 'hosts: files dns\n' >bb/etc/nsswitch.conf
    tar -C bb -c . | docker import --change "ENV $path" --change 'CMD ["sh"]' - "$busybox" >/dev/null
}

build_nginx() {
    debian_root nginx.tar nginx-light
    rm -rf root && mkdir root
    tar -C root -xf nginx.tar
    rm -rf root/var/lib/apt/lists/* root/var/cache/apt/* root/dev/*
    ln -sf /dev/stdout root/var/log/nginx/access.log
    ln -sf /dev/stderr root/var/log/nginx/error.log
    tar -C root -c . | docker import --change "ENV $path" --change 'EXPOSE 80' --change 'CMD ["nginx","-g","daemon off;"]' - "$nginx" >/dev/null
}

build_agnhost
build_busybox
build_nginx
rm -rf root bb
docker save -o "$out.part" "$agnhost" "$busybox" "$nginx"
mv "$out.part" "$out"
echo "$stamp" >"$out.stamp"
docker image rm "$agnhost" "$busybox" "$nginx" >/dev/null
log "$out: $(du -m "$out" | cut -f1) MB"
