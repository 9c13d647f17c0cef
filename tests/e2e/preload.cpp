// Loaded before a program's libraries (LD_PRELOAD): notes the files it opens, and lets its clock jump.
//
//   SOUP_TRACE_OPENS=FOLDER   the path of each file that is opened, a line each, in FOLDER/<process id>
//   SOUP_CLOCK_JUMPS=1        the time of day is one day off, back and forth at each look
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

// By system calls, since open() is this library's own.
void note(const char* path) {
  const char* folder = std::getenv("SOUP_TRACE_OPENS");
  if (folder == nullptr || path == nullptr) {
    return;
  }
  char file[4096];
  char line[4096];
  std::snprintf(file, sizeof(file), "%s/%d", folder, static_cast<int>(getpid()));
  const int length = std::snprintf(line, sizeof(line), "%s\n", path);
  const long fd = syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd >= 0) {
    if (write(static_cast<int>(fd), line, static_cast<std::size_t>(length)) != length) {
      std::abort();
    }
    close(static_cast<int>(fd));
  }
}

// The mode that follows `flags` in open()'s arguments, where there is one.
mode_t mode_of(int flags, va_list arguments) {
  return (flags & (O_CREAT | __O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
}

int opened(int folder, const char* path, int flags, mode_t mode) {
  note(path);
  return static_cast<int>(syscall(SYS_openat, folder, path, flags, mode));
}

}  // namespace

extern "C" {

int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return opened(AT_FDCWD, path, flags, mode);
}

int open64(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return opened(AT_FDCWD, path, flags, mode);
}

int openat(int folder, const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_of(flags, arguments);
  va_end(arguments);
  return opened(folder, path, flags, mode);
}

FILE* fopen(const char* path, const char* mode) {
  using Function = FILE* (*)(const char*, const char*);
  static const auto next = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "fopen"));
  note(path);
  return next(path, mode);
}

FILE* fopen64(const char* path, const char* mode) {
  using Function = FILE* (*)(const char*, const char*);
  static const auto next = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "fopen64"));
  note(path);
  return next(path, mode);
}

int clock_gettime(clockid_t clock, struct timespec* now) {
  using Function = int (*)(clockid_t, struct timespec*);
  static const auto next = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "clock_gettime"));
  const int result = next(clock, now);
  static std::atomic<unsigned> looks{0};
  static const bool jumps = std::getenv("SOUP_CLOCK_JUMPS") != nullptr;
  if (jumps && clock == CLOCK_REALTIME && looks++ % 2 == 0) {
    now->tv_sec -= 86400;
  }
  return result;
}
}
