# packages.sh - what clgrad needs on Debian 12, one list for quickstart, check and README. To be sourced.

packages='gcc g++ libc6-dev meson ninja-build pkg-config ocl-icd-opencl-dev opencl-headers libclblast-dev zlib1g-dev
    libcjson-dev libpng-dev libjpeg62-turbo-dev libcmocka-dev pocl-opencl-icd dataset-fashion-mnist'

# Only for tools/bench/gpu-report, which compiles the kernels for GPUs, and tools/lanes, which runs tests elsewhere than
# on pocl; check installs them, quickstart does not.
lane_packages='clang-15 libclc-15 llvm-15 intel-opencl-icd oclgrind mesa-opencl-icd'

# Installs what is missing, after saying what. Ends the script where it may not, with the list of what is needed.
install_packages()
{
    missing=
    if ! command -v apt-get >/dev/null 2>&1 || ! command -v dpkg-query >/dev/null 2>&1; then
        echo "This is not a Debian system. Please install what these Debian packages contain, then build with"
        echo "'meson setup build && ninja -C build':"
        printf '    %s\n' $packages
        exit 1
    fi
    for package in $packages; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' ||
            missing="$missing $package"
    done
    [ -n "$missing" ] || return 0

    echo "Installing with apt-get:$missing"
    if [ "$(id -u)" = 0 ]; then sudo=
    elif command -v sudo >/dev/null 2>&1; then sudo=sudo
    else
        echo "This needs root and there is no sudo. As root, run: apt-get install --no-install-recommends$missing"
        exit 1
    fi
    $sudo apt-get update -qq &&
        $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null || {
        echo "apt-get could not install them."
        exit 1
    }
}
