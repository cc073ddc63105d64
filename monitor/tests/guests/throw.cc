// Question: do C++ exceptions unwind, through frames with destructors, and across a rethrow?
//
// The unwinder finds its tables through dl_iterate_phdr, so this also asks whether AT_PHDR is
// true. With an argument nothing catches, and std::terminate aborts.
#include <cstdio>
#include <stdexcept>
#include <string>

struct Guard {
    const char *name;
    ~Guard() { std::printf("unwound %s\n", name); }
};

[[gnu::noinline]] static int depth(int n)
{
    Guard guard{n % 2 ? "odd" : "even"};
    if (n == 0)
        throw std::runtime_error("from the bottom of " + std::string(40, 'x'));
    return depth(n - 1) + n;
}

[[gnu::noinline]] static void rethrow()
{
    Guard guard{"rethrow"};
    try {
        depth(4);
    } catch (const std::exception &) {
        std::puts("seen");
        throw;
    }
}

int main(int argc, char **)
{
    if (argc > 1) {
        std::fflush(stdout);
        throw 1;
    }
    try {
        rethrow();
    } catch (const std::runtime_error &error) {
        std::printf("caught %s\n", error.what());
        return 42;
    }
    return 1;
}
