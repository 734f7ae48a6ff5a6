// Lets the library run where glibc and libstdc++ are older than those that it is compiled with: those of
// manylinux_2_28, like torch's own wheels. Headers make use of a few functions that came later. Here they
// are once more, for this library alone: exports.map keeps them inside.
#include <math.h>

#include <new>
#include <sstream>

#ifdef __GLIBC__
// Since glibc 2.32: whether there is one thread, so that counters of references need no atomics. Never.
extern "C" {
char __libc_single_threaded = 0;
}

#ifdef __x86_64__
// Since glibc 2.29 there is an exp that does not report errors. The other one has the same bits.
extern "C" double exp_of_glibc(double);
__asm__(".symver exp_of_glibc, exp@GLIBC_2.2.5");
extern "C" double exp(double x) noexcept { return exp_of_glibc(x); }
#endif
#endif

#ifdef __GLIBCXX__
namespace std {

// Since GCC 9 their default constructors are in libstdc++, and since GCC 11 this error.
template class basic_ostringstream<char>;
template class basic_stringstream<char>;
void __throw_bad_array_new_length() { throw bad_array_new_length(); }

}  // namespace std
#endif
