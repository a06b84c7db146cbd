/* Faults of a disk, and a record of what reached it: preloaded into a process whose log is being tested.
 *
 * Between a program and the kernel, for every file, SQLite's too: errors and delays on request, by file and operation;
 * writes that stop half way; and a trace of every change, with every flush, from which the disk of a moment's power cut
 * can be made. Rules stand in a page of shared memory, so that a test changes them while the program runs.
 *
 *   cc -shared -fPIC -O2 -o faults.so faults.c -ldl -lpthread
 *
 * tests/faults/disk.py knows the layout of the page and of the trace.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { WRITE = 1, FLUSH = 2, TRUNCATE = 4, RENAME = 8, UNLINK = 16, CREATE = 32, MARK = 64, FAILED = 128 };

#define RULES 8
#define DIE 4096 /* instead of an errno: the process is killed before the operation */

struct rule {
    int32_t operations; /* which of the above; 0: no rule */
    int32_t error;      /* errno, 0: none */
    int32_t delay_ms;
    int32_t half;       /* a write stops half way, and then says so */
    int32_t after;      /* so many are let through first */
    int32_t times;      /* then so many are hit; -1: all */
    int32_t hits;       /* told to the test */
    char suffix[100];   /* of the file's name; empty: every file in the folder */
};

static struct rule *rules;
static char folder[4096];
static size_t folder_length;
static int trace = -1;
static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;

/* From the test's own process, once it has been forked. */
void faults_attach(const char *control, const char *watched, const char *traced)
{
    int fd = (int)syscall(SYS_openat, AT_FDCWD, control, O_RDWR | O_CLOEXEC);
    void *page = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(struct rule) * RULES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0)
        syscall(SYS_close, fd);
    snprintf(folder, sizeof folder, "%s/", watched);
    folder_length = strlen(folder);
    rules = page == MAP_FAILED ? NULL : page;
    if (*traced)
        trace = (int)syscall(SYS_openat, AT_FDCWD, traced, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

/* A program that cannot be asked to attach itself is told by its environment, and so is what it starts. */
__attribute__((constructor)) static void attach_from_environment(void)
{
    const char *control = getenv("FAULTS_CONTROL"), *watched = getenv("FAULTS_FOLDER");
    if (control && watched)
        faults_attach(control, watched, "");
}

static int ours(const char *path)
{
    return folder_length && strncmp(path, folder, folder_length) == 0;
}

/* The path of a descriptor, in the watched folder or the folder itself; else an empty text. */
static void path_of(int fd, char *path, size_t size)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, size - 1);
    path[length < 0 ? 0 : length] = 0;
    if (!ours(path) && !(length > 0 && (size_t)length == folder_length - 1 && strncmp(path, folder, (size_t)length) == 0))
        path[0] = 0;
}

/* What a rule does to this operation: its errno, 0, or -1 for half a write. */
static int struck(int operation, const char *path)
{
    if (!rules || !*path)
        return 0;
    for (int i = 0; i < RULES; i++) {
        struct rule *rule = &rules[i];
        if (!(rule->operations & operation))
            continue;
        size_t length = strlen(path), wanted = strnlen(rule->suffix, sizeof rule->suffix);
        if (wanted > length || memcmp(path + length - wanted, rule->suffix, wanted))
            continue;
        if (__atomic_fetch_sub(&rule->after, 1, __ATOMIC_SEQ_CST) > 0)
            continue;
        __atomic_store_n(&rule->after, 0, __ATOMIC_SEQ_CST);
        if (rule->times >= 0 && __atomic_fetch_sub(&rule->times, 1, __ATOMIC_SEQ_CST) <= 0) {
            __atomic_store_n(&rule->times, 0, __ATOMIC_SEQ_CST);
            continue;
        }
        __atomic_fetch_add(&rule->hits, 1, __ATOMIC_SEQ_CST);
        if (rule->delay_ms) {
            struct timespec wait = {rule->delay_ms / 1000, (rule->delay_ms % 1000) * 1000000L};
            nanosleep(&wait, NULL);
        }
        if (rule->error == DIE)
            kill(getpid(), SIGKILL);
        return rule->half ? -1 : rule->error;
    }
    return 0;
}

/* One entry of the trace: operation, offset, lengths, then path, second path, data. The lock is held. */
static void record(int operation, const char *path, const char *other, uint64_t offset, const void *data, size_t size)
{
    if (trace < 0)
        return;
    char head[9000];
    uint32_t numbers[4] = {(uint32_t)operation, (uint32_t)strlen(path), (uint32_t)strlen(other), (uint32_t)size};
    size_t at = 0;
    memcpy(head, numbers, sizeof numbers), at += sizeof numbers;
    memcpy(head + at, &offset, sizeof offset), at += sizeof offset;
    memcpy(head + at, path, numbers[1]), at += numbers[1];
    memcpy(head + at, other, numbers[2]), at += numbers[2];
    syscall(SYS_write, trace, head, at);
    if (size)
        syscall(SYS_write, trace, data, size);
}

/* Something that a test says happened between two changes of the disk. */
void faults_mark(const char *text)
{
    pthread_mutex_lock(&order);
    record(MARK, "", text, 0, NULL, 0);
    pthread_mutex_unlock(&order);
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static ssize_t written(int fd, const void *data, size_t size, off_t offset, int at)
{
    char path[4200];
    path_of(fd, path, sizeof path);
    int fault = struck(WRITE, path);
    if (fault > 0) {
        errno = fault;
        return -1;
    }
    if (fault < 0)
        size = size > 1 ? size / 2 : size;
    if (!*path)
        return at ? (ssize_t)syscall(SYS_pwrite64, fd, data, size, offset) : (ssize_t)syscall(SYS_write, fd, data, size);
    pthread_mutex_lock(&order);
    off_t place = at ? offset : (off_t)syscall(SYS_lseek, fd, 0, SEEK_CUR);
    ssize_t done = at ? (ssize_t)syscall(SYS_pwrite64, fd, data, size, offset) : (ssize_t)syscall(SYS_write, fd, data, size);
    int problem = errno;
    if (done > 0)
        record(WRITE, path, "", (uint64_t)place, data, (size_t)done);
    pthread_mutex_unlock(&order);
    errno = problem;
    return done;
}

ssize_t write(int fd, const void *data, size_t size) { return written(fd, data, size, 0, 0); }
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) { return written(fd, data, size, offset, 1); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) { return written(fd, data, size, offset, 1); }

static int flushed(int fd, long call)
{
    char path[4200];
    path_of(fd, path, sizeof path);
    int fault = struck(FLUSH, path);
    pthread_mutex_lock(&order);
    int done = fault > 0 ? -1 : (int)syscall(call, fd), problem = fault > 0 ? fault : errno;
    if (*path)
        record(done ? FAILED : FLUSH, path, "", 0, NULL, 0);
    pthread_mutex_unlock(&order);
    errno = problem;
    return done;
}

int fsync(int fd) { return flushed(fd, SYS_fsync); }
int fdatasync(int fd) { return flushed(fd, SYS_fdatasync); }

static int truncated(int fd, off_t size)
{
    char path[4200];
    path_of(fd, path, sizeof path);
    int fault = struck(TRUNCATE, path);
    if (fault > 0) {
        errno = fault;
        return -1;
    }
    pthread_mutex_lock(&order);
    int done = (int)syscall(SYS_ftruncate, fd, size), problem = errno;
    if (!done && *path)
        record(TRUNCATE, path, "", (uint64_t)size, NULL, 0);
    pthread_mutex_unlock(&order);
    errno = problem;
    return done;
}

int ftruncate(int fd, off_t size) { return truncated(fd, size); }
int ftruncate64(int fd, off64_t size) { return truncated(fd, size); }

int rename(const char *old, const char *new)
{
    REAL(rename);
    const char *path = ours(new) ? new : "";
    int fault = struck(RENAME, path);
    if (fault > 0) {
        errno = fault;
        return -1;
    }
    pthread_mutex_lock(&order);
    int done = real(old, new), problem = errno;
    if (!done && *path)
        record(RENAME, old, new, 0, NULL, 0);
    pthread_mutex_unlock(&order);
    errno = problem;
    return done;
}

int unlink(const char *name)
{
    REAL(unlink);
    const char *path = ours(name) ? name : "";
    int fault = struck(UNLINK, path);
    if (fault > 0) {
        errno = fault;
        return -1;
    }
    pthread_mutex_lock(&order);
    int done = real(name), problem = errno;
    if (!done && *path)
        record(UNLINK, name, "", 0, NULL, 0);
    pthread_mutex_unlock(&order);
    errno = problem;
    return done;
}

static int opened(const char *name, int flags, mode_t mode)
{
    const char *path = ours(name) ? name : "";
    int makes = (flags & O_CREAT) && *path && access(name, F_OK) != 0;
    int fault = makes ? struck(CREATE, path) : 0;
    if (fault > 0) {
        errno = fault;
        return -1;
    }
    if (!makes && !((flags & O_TRUNC) && *path))
        return (int)syscall(SYS_openat, AT_FDCWD, name, flags, mode);
    pthread_mutex_lock(&order);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, name, flags, mode), problem = errno;
    if (fd >= 0)
        record(makes ? CREATE : TRUNCATE, path, "", 0, NULL, 0);
    pthread_mutex_unlock(&order);
    errno = problem;
    return fd;
}

static mode_t mode_in(int flags, va_list *rest)
{
    return flags & (O_CREAT | __O_TMPFILE) ? (mode_t)va_arg(*rest, int) : 0;
}

#define OPEN(function)                            \
    int function(const char *name, int flags, ...) \
    {                                             \
        va_list rest;                             \
        va_start(rest, flags);                    \
        mode_t mode = mode_in(flags, &rest);      \
        va_end(rest);                             \
        return opened(name, flags, mode);         \
    }

OPEN(open)
OPEN(open64)
