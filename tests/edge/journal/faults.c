/* Stands between a program and its disk: writes down, in order, what the program changes below one folder, and makes one of
 * these calls the last one or a failing one. Preloaded (LD_PRELOAD) into the programs of the tests; 64-bit Linux.
 *
 * What is synced below the folder is not synced in truth: what a disk would keep is worked out from the trace, by disk.py.
 * Not seen are changes by memory map (only the -shm file of SQLite has those) and paths that are not absolute. */

#undef _FORTIFY_SOURCE
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* The same names and numbers as in disk.py. */
enum kind { NOTE, OPEN, CREATE, WRITE, TRUNCATE, UNLINK, RENAME, MKDIR, SYNC, FAILED_SYNC, FAILED };

struct header {
    int32_t kind;
    int32_t descriptor;
    int64_t offset;
    int64_t length; /* of the payload that follows */
};

enum { DESCRIPTORS = 4096 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char folder[4096];
static unsigned char watched[DESCRIPTORS];
static int trace = -1;
static int torn;
static int failure;     /* errno of the calls that fail; 0: the process is killed */
static long first_call; /* the first that meets the fault; 0: none does */
static long last_call;
static long calls;

/* Begin to watch a folder. Writes all that changes to `trace_file` (NULL: nowhere). The calls `first` to `first + count - 1`,
 * counted from 1, fail with `error`, or the first kills the process if that is 0. `tear`: half of a write is done before. */
void faults_begin(const char *below, const char *trace_file, long first, long count, int error, int tear)
{
    strncpy(folder, below, sizeof folder - 1);
    if (trace_file != NULL)
        trace = (int)syscall(SYS_openat, AT_FDCWD, trace_file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    first_call = first;
    last_call = first + count - 1;
    failure = error;
    torn = tear;
    calls = 0;
}

static void put_down(enum kind kind, int descriptor, int64_t offset, const void *payload, size_t length)
{
    struct header header = {kind, descriptor, offset, (int64_t)length};
    struct iovec parts[] = {{&header, sizeof header}, {(void *)payload, length}};
    if (trace >= 0 && syscall(SYS_writev, trace, parts, 2) != (long)(sizeof header + length))
        abort();
}

/* What the program has to say to the trace: that something was acknowledged. */
void faults_note(const char *text)
{
    pthread_mutex_lock(&lock);
    put_down(NOTE, -1, 0, text, strlen(text));
    pthread_mutex_unlock(&lock);
}

/* Put down a call that was counted: done, or failed with errno as it stands. */
static void put_down_result(int result, enum kind kind, int descriptor, int64_t offset, const void *payload, size_t length)
{
    put_down(result < 0 ? FAILED : kind, descriptor, offset, payload, result < 0 ? 0 : length);
}

static int is_below(const char *path)
{
    size_t length = strlen(folder);
    return length > 0 && strncmp(path, folder, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

static int is_watched(int descriptor)
{
    return descriptor >= 0 && descriptor < DESCRIPTORS && watched[descriptor];
}

static void die(void)
{
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;)
        pause();
}

/* Count a call; whether it meets the fault. */
static int is_met(void)
{
    calls++;
    return first_call > 0 && calls >= first_call && calls <= last_call;
}

/* Count a call that is done or not done, but never by half; whether it fails, with errno set. */
static int fails(void)
{
    if (!is_met())
        return 0;
    if (failure == 0)
        die();
    errno = failure;
    return 1;
}

static long write_now(int descriptor, const void *data, size_t size, off_t offset, int positioned)
{
    return positioned ? syscall(SYS_pwrite64, descriptor, data, size, offset) : syscall(SYS_write, descriptor, data, size);
}

static ssize_t put(int descriptor, const void *data, size_t size, off_t offset, int positioned)
{
    if (!is_watched(descriptor))
        return write_now(descriptor, data, size, offset, positioned);
    pthread_mutex_lock(&lock);
    ssize_t written = -1;
    int met = is_met();
    int half = met && torn && calls == first_call && size > 1;
    if (!met || half)
        written = write_now(descriptor, data, half ? size / 2 : size, offset, positioned);
    if (met && failure == 0)
        die();
    if (met && !half)
        errno = failure;
    int64_t at = positioned || written < 0 ? offset : syscall(SYS_lseek, descriptor, 0, SEEK_CUR) - written;
    put_down_result((int)written, WRITE, descriptor, at, data, (size_t)written);
    pthread_mutex_unlock(&lock);
    return written;
}

ssize_t write(int descriptor, const void *data, size_t size)
{
    return put(descriptor, data, size, 0, 0);
}

ssize_t pwrite(int descriptor, const void *data, size_t size, off_t offset)
{
    return put(descriptor, data, size, offset, 1);
}

ssize_t pwrite64(int descriptor, const void *data, size_t size, off64_t offset)
{
    return put(descriptor, data, size, offset, 1);
}

static int open_watched(const char *path, int flags, mode_t mode)
{
    struct stat facts;
    int exists = stat(path, &facts) == 0;
    int creates = !exists && (flags & O_CREAT);
    int empties = exists && (flags & O_TRUNC);
    int is_counted = creates || empties;
    int descriptor = is_counted && fails() ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
    if (descriptor >= DESCRIPTORS)
        abort();
    if (descriptor >= 0)
        watched[descriptor] = 1;
    if (descriptor >= 0 || is_counted)
        put_down_result(descriptor, creates ? CREATE : OPEN, descriptor, 0, path, strlen(path));
    if (descriptor >= 0 && empties)
        put_down(TRUNCATE, descriptor, 0, NULL, 0);
    return descriptor;
}

static int open_any(const char *path, int flags, mode_t mode)
{
    if (!is_below(path))
        return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
    pthread_mutex_lock(&lock);
    int descriptor = open_watched(path, flags, mode);
    pthread_mutex_unlock(&lock);
    return descriptor;
}

int open(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return open_any(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return open_any(path, flags, mode);
}

int close(int descriptor)
{
    if (is_watched(descriptor))
        watched[descriptor] = 0;
    return (int)syscall(SYS_close, descriptor);
}

static int cut(int descriptor, off_t size)
{
    if (!is_watched(descriptor))
        return (int)syscall(SYS_ftruncate, descriptor, size);
    pthread_mutex_lock(&lock);
    int result = fails() ? -1 : (int)syscall(SYS_ftruncate, descriptor, size);
    put_down_result(result, TRUNCATE, descriptor, size, NULL, 0);
    pthread_mutex_unlock(&lock);
    return result;
}

int ftruncate(int descriptor, off_t size)
{
    return cut(descriptor, size);
}

int ftruncate64(int descriptor, off64_t size)
{
    return cut(descriptor, size);
}

int unlink(const char *path)
{
    if (!is_below(path))
        return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    pthread_mutex_lock(&lock);
    int result = fails() ? -1 : (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    put_down_result(result, UNLINK, -1, 0, path, strlen(path));
    pthread_mutex_unlock(&lock);
    return result;
}

int rename(const char *from, const char *to)
{
    if (!is_below(from) && !is_below(to))
        return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    pthread_mutex_lock(&lock);
    int result = fails() ? -1 : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    /* Both names, with a zero byte between. */
    char names[2 * sizeof folder];
    size_t first = strlen(from) + 1, second = strlen(to);
    if (first + second > sizeof names)
        abort();
    memcpy(names, from, first);
    memcpy(names + first, to, second);
    put_down_result(result, RENAME, -1, 0, names, first + second);
    pthread_mutex_unlock(&lock);
    return result;
}

int mkdir(const char *path, mode_t mode)
{
    if (!is_below(path))
        return (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    pthread_mutex_lock(&lock);
    int result = fails() ? -1 : (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    put_down_result(result, MKDIR, -1, 0, path, strlen(path));
    pthread_mutex_unlock(&lock);
    return result;
}

static int sync_watched(int descriptor)
{
    pthread_mutex_lock(&lock);
    int result = fails() ? -1 : 0;
    put_down(result == 0 ? SYNC : FAILED_SYNC, descriptor, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    return result;
}

int fsync(int descriptor)
{
    return is_watched(descriptor) ? sync_watched(descriptor) : (int)syscall(SYS_fsync, descriptor);
}

int fdatasync(int descriptor)
{
    return is_watched(descriptor) ? sync_watched(descriptor) : (int)syscall(SYS_fdatasync, descriptor);
}
