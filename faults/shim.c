/* Stands between a server's process and the system's calls (LD_PRELOAD), and lets the lab decide how each ends.

   The lab arms it for one process, through a file that both map: which kinds of calls count, at which of them
   something happens, and what. Of calls on files those below one folder count, of calls on sockets those of the
   internet families. What was called is written down with the octets it was about, so that the lab knows what was not
   yet durable when the process died. The clocks of an armed process can be moved. Every call is passed on by its number,
   so that nothing here depends on which library would have come next.

   Layout and meaning of `control` are the same as in shim.py. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define PATH_OCTETS 240
#define ENTRIES 4096

enum { OPEN = 1, WRITE = 2, SYNC = 4, RENAME = 8, LINK = 16, UNLINK = 32, TRUNCATE = 64, SEND = 128 };
enum { COUNT = 0, KILL = 1, FAIL_ONCE = 2, FAIL_ON = 3 };

struct entry {
    int64_t kind, offset, length, at_ns;
    int32_t done, failed;
    char path[PATH_OCTETS], other[PATH_OCTETS];
};

struct control {
    int32_t target, action, error, kinds;
    int64_t at, count, hits, realtime_ns, monotonic_ns, entries;
    char folder[PATH_OCTETS];
    struct entry log[ENTRIES];
};

static struct control *control;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("POSTROAD_FAULTS");
    if (path == NULL) return;
    int descriptor = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    if (descriptor < 0) return;
    void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    syscall(SYS_close, descriptor);
    if (mapped != MAP_FAILED) control = mapped;
}

static int is_armed(void) {
    return control != NULL && control->target != 0 && control->target == (int32_t)syscall(SYS_getpid);
}

static int64_t now_ns(void) {
    struct timespec now;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* ---- what a call is about ---- */

/* The index of a log (-shm) is memory that happens to have a name; it never outlives the machine, and is made anew. */
static int is_ours(const char *path) {
    size_t length = strlen(path);
    if (length > 4 && strcmp(path + length - 4, "-shm") == 0) return 0;
    return strncmp(path, control->folder, strlen(control->folder)) == 0;
}

static int named(const char *path, char *into) {
    if (path == NULL || !is_ours(path)) return 0;
    strncpy(into, path, PATH_OCTETS - 1);
    return 1;
}

/* Whether calls on this descriptor count; what it is open on. */
static int opened(int descriptor, char *into, int *is_socket) {
    struct stat facts;
    *is_socket = 0;
    if (syscall(SYS_newfstatat, descriptor, "", &facts, AT_EMPTY_PATH) != 0) return 0;
    if (S_ISSOCK(facts.st_mode)) {
        struct sockaddr_storage address;
        socklen_t length = sizeof address;
        if (syscall(SYS_getsockname, descriptor, &address, &length) != 0) return 0;
        *is_socket = 1;
        return address.ss_family == AF_INET || address.ss_family == AF_INET6;
    }
    if (!S_ISREG(facts.st_mode) && !S_ISDIR(facts.st_mode)) return 0;
    char link[40];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, into, PATH_OCTETS - 1);
    if (length < 0) return 0;
    into[length] = 0;
    return is_ours(into);
}

/* ---- what happens at it ---- */

static struct entry nowhere;

/* Before the call: count it, write it down, and do what is ordered. Sets *fails to an errno if it must fail. */
static struct entry *about_to(int kind, const char *path, const char *other, int64_t offset, int64_t length, int *fails) {
    *fails = 0;
    if (!(control->kinds & kind)) return &nowhere;
    int64_t number = __atomic_add_fetch(&control->count, 1, __ATOMIC_SEQ_CST);
    int64_t place = __atomic_fetch_add(&control->entries, 1, __ATOMIC_SEQ_CST);
    struct entry *entry = place < ENTRIES ? &control->log[place] : &nowhere;
    entry->kind = kind;
    entry->offset = offset;
    entry->length = length;
    entry->at_ns = now_ns();
    strncpy(entry->path, path, PATH_OCTETS - 1);
    strncpy(entry->other, other, PATH_OCTETS - 1);
    int is_it = number == control->at || (control->action == FAIL_ON && number > control->at);
    if (!is_it || control->action == COUNT) return entry;
    __atomic_add_fetch(&control->hits, 1, __ATOMIC_SEQ_CST);
    if (control->action == KILL) {
        syscall(SYS_kill, syscall(SYS_getppid), SIGKILL); /* the supervisor first: nobody shall replace us */
        syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
        for (;;) syscall(SYS_sched_yield);
    }
    *fails = entry->failed = control->error;
    return entry;
}

static long over(struct entry *entry, long result) {
    int error = errno;
    if (result < 0) entry->failed = error;
    __atomic_store_n(&entry->done, 1, __ATOMIC_SEQ_CST);
    errno = error;
    return result;
}

#define REFUSED(fails, entry) if (fails) { errno = fails; return (int)over(entry, -1); }

/* ---- octets ---- */

static ssize_t put(int descriptor, const struct iovec *parts, int count, int64_t offset) {
    char path[PATH_OCTETS] = "";
    int is_socket, fails = 0;
    struct entry *entry = &nowhere;
    if (is_armed() && opened(descriptor, path, &is_socket)) {
        int64_t length = 0;
        for (int i = 0; i < count; i++) length += (int64_t)parts[i].iov_len;
        int64_t where = is_socket ? 0 : offset >= 0 ? offset : (int64_t)syscall(SYS_lseek, descriptor, 0, SEEK_CUR);
        entry = about_to(is_socket ? SEND : WRITE, path, "", where, length, &fails);
        if (is_socket && entry != &nowhere && count > 0) {
            size_t heard = parts[0].iov_len < 60 ? parts[0].iov_len : 60;
            memcpy(entry->other, parts[0].iov_base, heard);
            entry->other[heard] = 0;
        }
    }
    REFUSED(fails, entry)
    if (offset >= 0) return over(entry, syscall(SYS_pwritev, descriptor, parts, count, (unsigned long)offset, 0UL));
    return over(entry, syscall(SYS_writev, descriptor, parts, count));
}

EXPORT ssize_t write(int descriptor, const void *octets, size_t length) {
    if (!is_armed()) return syscall(SYS_write, descriptor, octets, length);
    struct iovec part = {(void *)octets, length};
    return put(descriptor, &part, 1, -1);
}

EXPORT ssize_t writev(int descriptor, const struct iovec *parts, int count) {
    return is_armed() ? put(descriptor, parts, count, -1) : syscall(SYS_writev, descriptor, parts, count);
}

EXPORT ssize_t pwrite64(int descriptor, const void *octets, size_t length, off64_t offset) {
    if (!is_armed()) return syscall(SYS_pwrite64, descriptor, octets, length, offset);
    struct iovec part = {(void *)octets, length};
    return put(descriptor, &part, 1, offset);
}

EXPORT ssize_t pwrite(int descriptor, const void *octets, size_t length, off_t offset) {
    return pwrite64(descriptor, octets, length, offset);
}

static struct entry *said(int descriptor, const void *octets, size_t length, int *fails) {
    char path[PATH_OCTETS] = "";
    int is_socket;
    *fails = 0;
    if (!is_armed() || !opened(descriptor, path, &is_socket)) return &nowhere;
    struct entry *entry = about_to(SEND, path, "", 0, (int64_t)length, fails);
    if (entry != &nowhere && octets != NULL) {
        size_t heard = length < 60 ? length : 60;
        memcpy(entry->other, octets, heard);
        entry->other[heard] = 0;
    }
    return entry;
}

EXPORT ssize_t send(int descriptor, const void *octets, size_t length, int flags) {
    int fails;
    struct entry *entry = said(descriptor, octets, length, &fails);
    REFUSED(fails, entry)
    return over(entry, syscall(SYS_sendto, descriptor, octets, length, flags, NULL, 0));
}

EXPORT ssize_t sendmsg(int descriptor, const struct msghdr *message, int flags) {
    int fails;
    size_t parts = message->msg_iovlen;
    struct entry *entry = said(descriptor, parts ? message->msg_iov[0].iov_base : NULL,
                               parts ? message->msg_iov[0].iov_len : 0, &fails);
    REFUSED(fails, entry)
    return over(entry, syscall(SYS_sendmsg, descriptor, message, flags));
}

/* ---- what makes them last ---- */

static int synced(int descriptor, long number) {
    char path[PATH_OCTETS] = "";
    int is_socket, fails = 0;
    struct entry *entry = &nowhere;
    if (is_armed() && opened(descriptor, path, &is_socket) && !is_socket) entry = about_to(SYNC, path, "", 0, 0, &fails);
    REFUSED(fails, entry)
    return (int)over(entry, syscall(number, descriptor));
}

EXPORT int fsync(int descriptor) { return synced(descriptor, SYS_fsync); }
EXPORT int fdatasync(int descriptor) { return synced(descriptor, SYS_fdatasync); }

EXPORT int ftruncate64(int descriptor, off64_t length) {
    char path[PATH_OCTETS] = "";
    int is_socket, fails = 0;
    struct entry *entry = &nowhere;
    if (is_armed() && opened(descriptor, path, &is_socket)) entry = about_to(TRUNCATE, path, "", length, 0, &fails);
    REFUSED(fails, entry)
    return (int)over(entry, syscall(SYS_ftruncate, descriptor, length));
}

EXPORT int ftruncate(int descriptor, off_t length) { return ftruncate64(descriptor, length); }

/* ---- names ---- */

static int opening(int folder, const char *name, int flags, mode_t mode) {
    char path[PATH_OCTETS] = "";
    int fails = 0;
    struct entry *entry = &nowhere;
    /* A file that is there already is opened, not made: no name changes. */
    if ((flags & O_CREAT) && is_armed() && named(name, path) && syscall(SYS_faccessat, AT_FDCWD, name, F_OK) != 0)
        entry = about_to(OPEN, path, "", 0, 0, &fails);
    REFUSED(fails, entry)
    return (int)over(entry, syscall(SYS_openat, folder, name, flags | O_LARGEFILE, mode));
}

#define MODE(flags) \
    mode_t mode = 0; \
    if ((flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE) { \
        va_list more; \
        va_start(more, flags); \
        mode = va_arg(more, mode_t); \
        va_end(more); \
    }

EXPORT int open(const char *name, int flags, ...) { MODE(flags) return opening(AT_FDCWD, name, flags, mode); }
EXPORT int open64(const char *name, int flags, ...) { MODE(flags) return opening(AT_FDCWD, name, flags, mode); }
EXPORT int openat(int folder, const char *name, int flags, ...) { MODE(flags) return opening(folder, name, flags, mode); }
EXPORT int openat64(int folder, const char *name, int flags, ...) { MODE(flags) return opening(folder, name, flags, mode); }

EXPORT int renameat(int from_folder, const char *from, int to_folder, const char *to) {
    char path[PATH_OCTETS] = "";
    int fails = 0;
    struct entry *entry = &nowhere;
    if (is_armed() && named(from, path)) entry = about_to(RENAME, path, to, 0, 0, &fails);
    REFUSED(fails, entry)
    return (int)over(entry, syscall(SYS_renameat2, from_folder, from, to_folder, to, 0));
}

EXPORT int rename(const char *from, const char *to) { return renameat(AT_FDCWD, from, AT_FDCWD, to); }

EXPORT int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags) {
    char path[PATH_OCTETS] = "";
    int fails = 0;
    struct entry *entry = &nowhere;
    if (is_armed() && named(from, path)) entry = about_to(LINK, path, to, 0, 0, &fails);
    REFUSED(fails, entry)
    return (int)over(entry, syscall(SYS_linkat, from_folder, from, to_folder, to, flags));
}

EXPORT int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }

EXPORT int unlinkat(int folder, const char *name, int flags) {
    char path[PATH_OCTETS] = "";
    int fails = 0;
    struct entry *entry = &nowhere;
    if (is_armed() && named(name, path)) entry = about_to(UNLINK, path, "", 0, 0, &fails);
    REFUSED(fails, entry)
    return (int)over(entry, syscall(SYS_unlinkat, folder, name, flags));
}

EXPORT int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }

/* ---- clocks ---- */

EXPORT int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && is_armed()) {
        int is_real = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE;
        int is_steady = clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_COARSE || clock == CLOCK_BOOTTIME;
        int64_t moved = is_real ? control->realtime_ns : is_steady ? control->monotonic_ns : 0;
        int64_t sum = (int64_t)now->tv_sec * 1000000000 + now->tv_nsec + moved;
        now->tv_sec = sum / 1000000000;
        now->tv_nsec = sum % 1000000000;
    }
    return result;
}

EXPORT int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    (void)zone;
    int result = clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return result;
}

EXPORT time_t time(time_t *into) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (into != NULL) *into = now.tv_sec;
    return now.tv_sec;
}
