/* Makes one system call on files of a folder fail, for this process and those that it starts.

   Preloaded (LD_PRELOAD); FAULTY_CALLS names a file of `struct plan`, which all processes map. Calls
   that change a file below `folder` are counted; the one with the number `at`, from 1, is where
   the fault occurs:

   KILL   a write writes a fraction of its bytes; then the process `leader` is killed
   FULL   a write writes a fraction of its bytes; from then on no file grows and none is created
   WORKER as KILL, but only the process that calls ends, which may be a worker of the leader
*/
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { NONE, KILL, FULL, WORKER };

struct plan {
    int kind;
    int leader;      /* process id */
    int at;          /* number of the call with the fault; 0: only count */
    int count;       /* calls so far */
    double fraction; /* of the bytes of the call with the fault */
    char folder[1024];
    char where[1024]; /* written here: the call with the fault, and its file */
};

static struct plan *plan;

__attribute__((constructor)) static void map_plan(void) {
    const char *path = getenv("FAULTY_CALLS");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *memory = mmap(NULL, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (memory != MAP_FAILED)
        plan = memory;
    close(file);
}

static int is_below(const char *path) {
    size_t length = plan ? strlen(plan->folder) : 0;
    return length && path && !strncmp(path, plan->folder, length) && path[length] == '/';
}

static int fd_is_below(int file) {
    char name[40], path[PATH_MAX];
    if (!plan || !plan->folder[0])
        return 0;
    snprintf(name, sizeof name, "/proc/self/fd/%d", file);
    ssize_t length = readlink(name, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return is_below(path);
}

/* Returns whether a counted call is that of the fault, or comes after a disk got full. */
static int is_faulty(const char *call, const char *path, int file) {
    int number = __atomic_add_fetch(&plan->count, 1, __ATOMIC_SEQ_CST);
    if (!plan->at || number < plan->at || (plan->kind != FULL && number > plan->at))
        return 0;
    if (number == plan->at) {
        char name[40], found[PATH_MAX];
        if (!path) {
            snprintf(name, sizeof name, "/proc/self/fd/%d", file);
            ssize_t length = readlink(name, found, sizeof found - 1);
            found[length < 0 ? 0 : length] = 0;
            path = found;
        }
        snprintf(plan->where, sizeof plan->where, "%s %.900s", call, path);
    }
    return 1;
}

static void die(void) {
    if (plan->kind == KILL)
        kill(plan->leader, SIGKILL);
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

/* Returns how many bytes of a write are written before its fault. */
static size_t part(size_t size) {
    return plan->count == plan->at ? (size_t)(plan->fraction * (double)size) : 0;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* A write of `size` bytes: `call` is the real one, `shorter` that of `left` bytes. */
#define WRITE(name, file, size, call, shorter)             \
    if (!fd_is_below(file) || !is_faulty(name, NULL, file)) \
        return call;                                       \
    size_t left = part(size);                              \
    ssize_t done = left ? shorter : 0;                     \
    if (plan->kind != FULL)                                \
        die();                                             \
    if (done > 0)                                          \
        return done;                                       \
    errno = ENOSPC;                                        \
    return -1;

/* Another call, which a full disk forbids where `grows`. */
#define CHANGE(name, below, path, file, grows, call)      \
    if (!(below) || !is_faulty(name, path, file))         \
        return call;                                      \
    if (plan->kind != FULL)                               \
        die();                                            \
    if (!(grows))                                         \
        return call;                                      \
    errno = ENOSPC;                                       \
    return -1;

ssize_t write(int file, const void *bytes, size_t size) {
    static __typeof__(&write) real;
    if (!real)
        real = REAL(write);
    WRITE("write", file, size, real(file, bytes, size), real(file, bytes, left))
}

ssize_t pwrite(int file, const void *bytes, size_t size, off_t offset) {
    WRITE("pwrite", file, size, REAL(pwrite)(file, bytes, size, offset),
          REAL(pwrite)(file, bytes, left, offset))
}

ssize_t pwrite64(int file, const void *bytes, size_t size, off64_t offset) {
    WRITE("pwrite", file, size, REAL(pwrite64)(file, bytes, size, offset),
          REAL(pwrite64)(file, bytes, left, offset))
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    WRITE("writev", file, count ? parts[0].iov_len : 0, REAL(writev)(file, parts, count),
          REAL(write)(file, parts[0].iov_base, left))
}

ssize_t sendfile64(int out, int in, off64_t *offset, size_t size) {
    ssize_t (*real)(int, int, off64_t *, size_t) = dlsym(RTLD_NEXT, "sendfile64");
    WRITE("sendfile", out, size, real(out, in, offset, size), real(out, in, offset, left))
}

ssize_t sendfile(int out, int in, off_t *offset, size_t size) {
    return sendfile64(out, in, offset, size);
}

ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t size, unsigned flags) {
    WRITE("copy_file_range", out, size, REAL(copy_file_range)(in, from, out, to, size, flags),
          REAL(copy_file_range)(in, from, out, to, left, flags))
}

int fsync(int file) { CHANGE("fsync", fd_is_below(file), NULL, file, 1, REAL(fsync)(file)) }

int fdatasync(int file) {
    CHANGE("fdatasync", fd_is_below(file), NULL, file, 1, REAL(fdatasync)(file))
}

int ftruncate(int file, off_t size) {
    CHANGE("ftruncate", fd_is_below(file), NULL, file, 0, REAL(ftruncate)(file, size))
}

int ftruncate64(int file, off64_t size) {
    CHANGE("ftruncate", fd_is_below(file), NULL, file, 0, REAL(ftruncate64)(file, size))
}

int rename(const char *old, const char *new) {
    CHANGE("rename", is_below(new), new, -1, 0, REAL(rename)(old, new))
}

int renameat(int from, const char *old, int to, const char *new) {
    CHANGE("rename", is_below(new), new, -1, 0, REAL(renameat)(from, old, to, new))
}

int unlink(const char *path) { CHANGE("unlink", is_below(path), path, -1, 0, REAL(unlink)(path)) }

int unlinkat(int folder, const char *path, int flags) {
    CHANGE("unlink", is_below(path), path, -1, 0, REAL(unlinkat)(folder, path, flags))
}

int mkdir(const char *path, mode_t mode) {
    CHANGE("mkdir", is_below(path), path, -1, 1, REAL(mkdir)(path, mode))
}

#define OPEN(name)                                                                    \
    mode_t mode = 0;                                                                  \
    if (flags & (O_CREAT | O_TMPFILE)) {                                              \
        va_list rest;                                                                 \
        va_start(rest, flags);                                                        \
        mode = va_arg(rest, mode_t);                                                  \
        va_end(rest);                                                                 \
    }                                                                                 \
    CHANGE("open", (flags & O_CREAT) && is_below(path), path, -1, access(path, F_OK), \
           REAL(name) OPEN_ARGS)

#define OPEN_ARGS (path, flags, mode)
int open(const char *path, int flags, ...) { OPEN(open) }
int open64(const char *path, int flags, ...) { OPEN(open64) }
#undef OPEN_ARGS
#define OPEN_ARGS (folder, path, flags, mode)
int openat(int folder, const char *path, int flags, ...) { OPEN(openat) }
int openat64(int folder, const char *path, int flags, ...) { OPEN(openat64) }
