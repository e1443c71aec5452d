/* What a process does to the files below one folder: counted, recorded, and on demand cut off or refused.
 *
 * Loaded with LD_PRELOAD, so nothing goes past it, SQLite's own writes included, and the program under test is
 * the plain one. It is armed and asked through the functions at the end (see layer.py). Each operation is
 * numbered, done, and appended to a record with its bytes, under one lock: the record is the order in which the
 * kernel was told. The kernel is called directly; the wrapped functions of the C library are not needed.
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
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define PATH_BYTES 4096

enum kind { CREATE = 1, MKDIR, WRITE, TRUNCATE, ALLOCATE, SYNC, RENAME, UNLINK, RMDIR, LINK, MODE };
enum mode { COUNT, KILL, KILL_HALFWAY, FAIL_ONCE, FAIL_FROM, FAIL_UNTIL_FREED };

struct operation {
  uint32_t kind;
  int32_t error;
  uint64_t inode;
  int64_t offset, length;
  uint32_t path_bytes, other_bytes, data_bytes, unused;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char root[PATH_BYTES];
static volatile pid_t armed; /* the process that is watched; not what it starts */
static int record = -1;
static enum mode mode;
static long at, count, hits;
static int failure;

/* A step at which the process is to die: see layer.step_environment. */
static char step_path[256], step_bytes[1024];
static long step_count, step_delay_ms;
static int step_on_sync, step_seen;

static int below(const char *path) {
  size_t length = strlen(root);
  return strncmp(path, root, length) == 0 && (path[length] == '/' || path[length] == 0);
}

static int watching(void) { return armed && armed == getpid(); }

static int place_of(int fd, char *path) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_BYTES - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return below(path);
}

static int place_at(int folder, const char *name, char *path) {
  if (name[0] == '/') {
    snprintf(path, PATH_BYTES, "%s", name);
    return below(path);
  }
  char parent[PATH_BYTES];
  if (folder == AT_FDCWD) {
    if (!getcwd(parent, sizeof parent)) return 0;
  } else {
    place_of(folder, parent);
  }
  if (snprintf(path, PATH_BYTES, "%s/%s", parent, name) >= PATH_BYTES) return 0;
  return below(path);
}

/* Whether a disk that is full, or read-only, refuses this too. */
static int refuses(enum kind kind) {
  if (failure == ENOSPC) return kind == CREATE || kind == MKDIR || kind == WRITE || kind == ALLOCATE || kind == LINK;
  if (failure == EROFS) return kind != SYNC;
  return 1;
}

/* Whether a failure goes on until it is healed. */
static int lasts(void) { return mode == FAIL_FROM || mode == FAIL_UNTIL_FREED; }

static void die(void) {
  syscall(SYS_kill, getpid(), SIGKILL);
  for (;;) pause();
}

static int is_step_file(const char *path) {
  size_t length = strlen(path), suffix = strlen(step_path);
  return step_count > 0 && suffix && length >= suffix && strcmp(path + length - suffix, step_path) == 0;
}

static void step(void) {
  if (--step_count > 0) return;
  if (!step_delay_ms) die();
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL};
  struct itimerspec after = {.it_value = {step_delay_ms / 1000, step_delay_ms % 1000 * 1000000}};
  timer_t timer;
  timer_create(CLOCK_MONOTONIC, &event, &timer);
  timer_settime(timer, 0, &after, NULL);
}

/* Number an operation; returns the errno with which it is to fail, or 0. Call it with the lock held. */
static int enter(enum kind kind) {
  count++;
  if (mode == KILL && count == at) die();
  if ((mode == FAIL_ONCE && count == at) || (lasts() && count >= at && refuses(kind))) {
    hits++;
    return failure;
  }
  return 0;
}

static int halfway(void) { return mode == KILL_HALFWAY && count == at; }

static void append(enum kind kind, int error, uint64_t inode, int64_t offset, int64_t length, const char *path,
                   const char *other, const void *data) {
  if (record < 0) return;
  struct operation head = {kind, error, inode, offset, length, strlen(path), strlen(other),
                           data && !error ? length : 0, 0};
  struct iovec parts[] = {{&head, sizeof head},
                          {(void *)path, head.path_bytes},
                          {(void *)other, head.other_bytes},
                          {(void *)data, head.data_bytes}};
  syscall(SYS_writev, record, parts, 4);
}

static uint64_t inode_of(int fd) {
  struct stat status;
  return fstat(fd, &status) ? 0 : status.st_ino;
}

/* Do what only changes names. */
static int change(enum kind kind, const char *path, const char *other, long call, long a, long b, long c, long d,
                  long e) {
  pthread_mutex_lock(&lock);
  int error = enter(kind);
  long done = error ? -1 : syscall(call, a, b, c, d, e);
  if (!error && done < 0) error = errno;
  append(kind, error, 0, 0, 0, path, other, NULL);
  if (halfway()) die();
  /* A model file went: there is room again, and nothing is to be said of it. */
  if (mode == FAIL_UNTIL_FREED && kind == UNLINK && !error && strstr(path, "/files/")) mode = COUNT, hits = 0;
  pthread_mutex_unlock(&lock);
  if (error) errno = error;
  return error ? -1 : 0;
}

static int open_at(int folder, const char *name, int flags, mode_t permissions) {
  char path[PATH_BYTES];
  int writes = (flags & O_ACCMODE) != O_RDONLY || flags & O_CREAT;
  if (!watching() || !writes || !place_at(folder, name, path))
    return syscall(SYS_openat, folder, name, flags, permissions);
  pthread_mutex_lock(&lock);
  struct stat status;
  int there = fstatat(folder, name, &status, 0) == 0;
  enum kind kind = there ? TRUNCATE : CREATE;
  int changes = there ? flags & O_TRUNC && status.st_size : flags & O_CREAT;
  int error = changes ? enter(kind) : 0;
  if (!changes && lasts() && failure == EROFS && count >= at) error = EROFS, hits++;
  int fd = error ? -1 : syscall(SYS_openat, folder, name, flags, permissions);
  if (!error && fd < 0) error = errno;
  if (changes) append(kind, error, fd < 0 ? 0 : inode_of(fd), 0, 0, path, "", NULL);
  if (changes && halfway()) die();
  pthread_mutex_unlock(&lock);
  if (error) errno = error;
  return fd;
}

static mode_t permissions_of(int flags, va_list list) {
  return flags & (O_CREAT | __O_TMPFILE) ? va_arg(list, mode_t) : 0;
}

#define OPEN(name, parameters, folder)                       \
  int name parameters {                                      \
    va_list list;                                            \
    va_start(list, flags);                                   \
    mode_t permissions = permissions_of(flags, list);        \
    va_end(list);                                            \
    return open_at(folder, path, flags, permissions);        \
  }
OPEN(open, (const char *path, int flags, ...), AT_FDCWD)
OPEN(open64, (const char *path, int flags, ...), AT_FDCWD)
OPEN(openat, (int folder, const char *path, int flags, ...), folder)
OPEN(openat64, (int folder, const char *path, int flags, ...), folder)
int creat(const char *path, mode_t m) { return open_at(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, m); }

/* offset -1: where the file stands, or at its end. */
static ssize_t write_at(int fd, const void *data, size_t length, off_t offset) {
  char path[PATH_BYTES];
  if (!watching() || fd == record || !place_of(fd, path))
    return offset < 0 ? syscall(SYS_write, fd, data, length) : syscall(SYS_pwrite64, fd, data, length, offset);
  pthread_mutex_lock(&lock);
  int error = enter(WRITE);
  size_t some = halfway() ? length / 2 : length;
  ssize_t done = -1;
  if (!error)
    done = offset < 0 ? syscall(SYS_write, fd, data, some) : syscall(SYS_pwrite64, fd, data, some, offset);
  if (!error && done < 0) error = errno;
  if (offset < 0 && done >= 0) offset = lseek(fd, 0, SEEK_CUR) - done;
  append(WRITE, error, inode_of(fd), offset, done < 0 ? 0 : done, path, "", data);
  if (halfway()) die();
  if (is_step_file(path) && (!*step_bytes || memmem(data, length, step_bytes, strlen(step_bytes)))) {
    if (step_on_sync) step_seen = 1;
    else step();
  }
  pthread_mutex_unlock(&lock);
  if (error) errno = error;
  return done;
}
ssize_t write(int fd, const void *data, size_t length) { return write_at(fd, data, length, -1); }
ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) { return write_at(fd, data, length, offset); }
ssize_t pwrite64(int fd, const void *data, size_t length, off_t offset) { return write_at(fd, data, length, offset); }

/* Do what concerns one open file. */
static int on_file(enum kind kind, int fd, off_t offset, off_t length, long call, long a, long b, long c) {
  char path[PATH_BYTES];
  if (!watching() || !place_of(fd, path)) return syscall(call, fd, a, b, c);
  pthread_mutex_lock(&lock);
  int error = enter(kind);
  if (!error && syscall(call, fd, a, b, c) < 0) error = errno;
  append(kind, error, inode_of(fd), offset, length, path, "", NULL);
  if (halfway()) die();
  if (kind == SYNC && step_seen && is_step_file(path)) step_seen = 0, step();
  pthread_mutex_unlock(&lock);
  if (error) errno = error;
  return error ? -1 : 0;
}
int fsync(int fd) { return on_file(SYNC, fd, 0, 0, SYS_fsync, 0, 0, 0); }
int fdatasync(int fd) { return on_file(SYNC, fd, 0, 0, SYS_fdatasync, 0, 0, 0); }
int ftruncate(int fd, off_t length) { return on_file(TRUNCATE, fd, 0, length, SYS_ftruncate, length, 0, 0); }
int ftruncate64(int fd, off_t length) { return ftruncate(fd, length); }
int fchmod(int fd, mode_t m) { return on_file(MODE, fd, 0, 0, SYS_fchmod, m, 0, 0); }
int fallocate(int fd, int how, off_t offset, off_t length) {
  return on_file(ALLOCATE, fd, offset, length, SYS_fallocate, how, offset, length);
}
int fallocate64(int fd, int how, off_t offset, off_t length) { return fallocate(fd, how, offset, length); }
int posix_fallocate(int fd, off_t offset, off_t length) { return fallocate(fd, 0, offset, length) ? errno : 0; }
int posix_fallocate64(int fd, off_t offset, off_t length) { return posix_fallocate(fd, offset, length); }

/* These would copy past us: their callers fall back to plain writes. */
ssize_t copy_file_range(int a, off_t *b, int c, off_t *d, size_t e, unsigned f) {
  return watching() ? (errno = EXDEV, -1) : syscall(SYS_copy_file_range, a, b, c, d, e, f);
}
ssize_t sendfile(int to, int from, off_t *offset, size_t length) {
  char path[PATH_BYTES];
  if (watching() && place_of(to, path)) return errno = ENOTSOCK, -1;
  return syscall(SYS_sendfile, to, from, offset, length);
}
ssize_t sendfile64(int to, int from, off_t *offset, size_t length) { return sendfile(to, from, offset, length); }

int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags) {
  char path[PATH_BYTES], other[PATH_BYTES];
  if (!watching() || !(place_at(from_folder, from, path) & place_at(to_folder, to, other)))
    return syscall(SYS_renameat2, from_folder, from, to_folder, to, flags);
  return change(RENAME, path, other, SYS_renameat2, from_folder, (long)from, to_folder, (long)to, flags);
}
int renameat(int a, const char *from, int b, const char *to) { return renameat2(a, from, b, to, 0); }
int rename(const char *from, const char *to) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags) {
  char path[PATH_BYTES], other[PATH_BYTES];
  if (!watching() || !(place_at(from_folder, from, path) & place_at(to_folder, to, other)))
    return syscall(SYS_linkat, from_folder, from, to_folder, to, flags);
  return change(LINK, path, other, SYS_linkat, from_folder, (long)from, to_folder, (long)to, flags);
}
int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }

int unlinkat(int folder, const char *name, int flags) {
  char path[PATH_BYTES];
  if (!watching() || !place_at(folder, name, path)) return syscall(SYS_unlinkat, folder, name, flags);
  struct stat status; /* what is not there is no operation */
  if (fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW)) return errno = ENOENT, -1;
  enum kind kind = flags & AT_REMOVEDIR ? RMDIR : UNLINK;
  return change(kind, path, "", SYS_unlinkat, folder, (long)name, flags, 0, 0);
}
int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }

int mkdirat(int folder, const char *name, mode_t m) {
  char path[PATH_BYTES];
  struct stat status;
  if (!watching() || !place_at(folder, name, path) || !fstatat(folder, name, &status, 0))
    return syscall(SYS_mkdirat, folder, name, m);
  return change(MKDIR, path, "", SYS_mkdirat, folder, (long)name, m, 0, 0);
}
int mkdir(const char *name, mode_t m) { return mkdirat(AT_FDCWD, name, m); }

int fchmodat(int folder, const char *name, mode_t m, int flags) {
  char path[PATH_BYTES];
  if (!watching() || !place_at(folder, name, path)) return syscall(SYS_fchmodat, folder, name, m);
  (void)flags;
  return change(MODE, path, "", SYS_fchmodat, folder, (long)name, m, 0, 0);
}
int chmod(const char *name, mode_t m) { return fchmodat(AT_FDCWD, name, m, 0); }

/* A full disk says so when it is asked. */
static int full(void) { return watching() && lasts() && failure == ENOSPC && hits; }
#define STATVFS(name, type, structure)                                  \
  int name(type what, struct structure *figures) {                      \
    int (*real)(type, struct structure *) = dlsym(RTLD_NEXT, #name);    \
    int done = real(what, figures);                                     \
    if (!done && full()) figures->f_bavail = figures->f_bfree = 0;      \
    return done;                                                        \
  }
STATVFS(statvfs, const char *, statvfs)
STATVFS(fstatvfs, int, statvfs)
STATVFS(statvfs64, const char *, statvfs64)
STATVFS(fstatvfs64, int, statvfs64)

/* The door. */
int faults_arm(const char *folder, const char *record_path, int new_mode, long new_at, int new_failure) {
  record = -1;
  if (*record_path) {
    record = syscall(SYS_openat, AT_FDCWD, record_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (record < 0) return errno;
  }
  snprintf(root, sizeof root, "%s", folder);
  mode = new_mode, at = new_at, failure = new_failure;
  count = hits = 0;
  armed = getpid();
  return 0;
}

/* A process that is started with a step in its environment is watched from its first instruction. */
__attribute__((constructor)) static void begin(void) {
  const char *folder = getenv("FAULTS_STEP_FOLDER");
  if (!folder) return;
  snprintf(step_path, sizeof step_path, "%s", getenv("FAULTS_STEP_PATH"));
  snprintf(step_bytes, sizeof step_bytes, "%s", getenv("FAULTS_STEP_BYTES"));
  step_on_sync = strcmp(getenv("FAULTS_STEP_ON"), "sync") == 0;
  step_count = atol(getenv("FAULTS_STEP_COUNT"));
  step_delay_ms = atol(getenv("FAULTS_STEP_DELAY_MS"));
  faults_arm(folder, "", COUNT, 0, 0);
}
long faults_count(void) { return count; }
long faults_hits(void) { return hits; }
void faults_heal(void) { mode = COUNT; }
