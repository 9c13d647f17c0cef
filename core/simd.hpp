// Loops compiled for several generations of processors, the best one chosen when the program starts.
#pragma once

// Before a function whose loops should use the widest vectors the machine has. The bits do not change: the compiler may
// neither reorder floating-point operations nor contract them (-ffp-contract=off).
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
#define SOUP_SIMD __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else  // the choice happens before a sanitizer's run time is there
#define SOUP_SIMD
#endif
