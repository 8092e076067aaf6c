/* What a process does to the files of one folder, written down in order; and faults of their disk.
 *
 * Preloaded into a server. DISK_FOLDER is the folder that is watched, DISK_LOG the file that is written, DISK_CONTROL a
 * file of six 32-bit numbers, shared with whoever makes faults: which error, how many calls are spared first, and how
 * many then fail; for syncs, and again for writes.
 *
 * Answers of 201 go into the same log, each before it is sent, so that the log tells what was promised when. What a
 * watched file gets by a call that is not recorded would make the log wrong: such a call ends the process.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { DESCRIPTORS = 65536, PIECES = 16 };
enum { OF_SYNCS, OF_WRITES };

struct record {
  uint32_t kind;
  uint32_t length;
  uint64_t inode;
  int64_t place; /* an offset, a size, or how many records ago a sync began */
};

struct faults {
  volatile int32_t error, spared, left;
};

static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;
static uint64_t inode_of[DESCRIPTORS]; /* 0: not watched */
static char folder[PATH_MAX];
static size_t folder_length;
static int64_t recorded;
static int log_file = -1;
static struct faults *faults;

static void give_up(const char *why) {
  fprintf(stderr, "disk.c: %s\n", why);
  abort();
}

__attribute__((constructor)) static void begin(void) {
  const char *watched = getenv("DISK_FOLDER"), *log = getenv("DISK_LOG"), *control = getenv("DISK_CONTROL");
  if (watched == NULL || log == NULL) give_up("DISK_FOLDER and DISK_LOG are needed");
  if (realpath(watched, folder) == NULL) give_up("DISK_FOLDER is not there");
  folder_length = strlen(folder);
  log_file = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (log_file < 0) give_up("cannot open DISK_LOG");
  if (control == NULL) return;
  int file = (int)syscall(SYS_openat, AT_FDCWD, control, O_RDWR | O_CLOEXEC);
  faults = mmap(NULL, 2 * sizeof *faults, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (faults == MAP_FAILED) give_up("cannot map DISK_CONTROL");
  syscall(SYS_close, file);
}

/* Write down what happened; the caller has the order. Answers with how many were written down before by this process. */
static int64_t note(char kind, uint64_t inode, int64_t place, const struct iovec *data, int count) {
  struct record head = {.kind = (unsigned char)kind, .inode = inode, .place = place};
  struct iovec pieces[PIECES + 1] = {{&head, sizeof head}};
  if (count > PIECES) give_up("too many pieces");
  for (int i = 0; i < count; i++) {
    pieces[i + 1] = data[i];
    head.length += (uint32_t)data[i].iov_len;
  }
  long all = (long)(sizeof head + head.length);
  if (syscall(SYS_writev, log_file, pieces, count + 1) != all) give_up("cannot write DISK_LOG");
  return recorded++;
}

static void note_text(char kind, uint64_t inode, const char *text) {
  struct iovec data = {(void *)text, strlen(text)};
  note(kind, inode, 0, &data, 1);
}

/* Write down a step of a sync; `since` is what the beginning answered with. */
static int64_t note_sync(char kind, uint64_t inode, int64_t since) {
  pthread_mutex_lock(&order);
  int64_t number = note(kind, inode, kind == 'B' ? 0 : recorded - since, NULL, 0);
  pthread_mutex_unlock(&order);
  return number;
}

static uint64_t watched(int file) { return file >= 0 && file < DESCRIPTORS ? inode_of[file] : 0; }

static int is_inside(const char *path) {
  return strncmp(path, folder, folder_length) == 0 && (path[folder_length] == '/' || path[folder_length] == 0);
}

/* The absolute path of a name whose folder exists; whether it is one that is watched. */
static int resolve(int at, const char *name, char *path) {
  char base[PATH_MAX] = ".", full[PATH_MAX], above[PATH_MAX];
  if (at != AT_FDCWD) snprintf(base, sizeof base, "/proc/self/fd/%d", at);
  int length = snprintf(full, sizeof full, "%s%s%s", name[0] == '/' ? "" : base, name[0] == '/' ? "" : "/", name);
  if (length < 0 || length >= PATH_MAX) return 0;
  char *last = strrchr(full, '/') + 1;
  char first = *last;
  *last = 0;
  if (realpath(full, above) == NULL) return 0;
  *last = first;
  length = snprintf(path, PATH_MAX, "%s/%s", above, last);
  return length > 0 && length < PATH_MAX && is_inside(path);
}

static int has_fault(int which) {
  if (faults == NULL) return 0;
  struct faults *of = &faults[which];
  pthread_mutex_lock(&order);
  int error = 0;
  if (of->left > 0 && of->spared-- <= 0) {
    of->left--;
    error = of->error;
  }
  pthread_mutex_unlock(&order);
  return error;
}

/* Opening, and names. */

static int open_at(int at, const char *name, int flags, mode_t mode) {
  char path[PATH_MAX];
  struct stat found;
  int is_ours = resolve(at, name, path);
  if (!is_ours) return (int)syscall(SYS_openat, at, name, flags, mode);
  pthread_mutex_lock(&order);
  int is_new = (flags & O_CREAT) && lstat(path, &found) != 0;
  int file = (int)syscall(SYS_openat, at, name, flags, mode);
  int error = errno;
  if (file >= DESCRIPTORS) give_up("a descriptor is too large");
  if (file >= 0) {
    if (fstat(file, &found) != 0) give_up("cannot fstat");
    inode_of[file] = found.st_ino;
    if (is_new) note_text('C', found.st_ino, path);
    else if (flags & O_TRUNC) note('T', found.st_ino, 0, NULL, 0);
  }
  pthread_mutex_unlock(&order);
  errno = error;
  return file;
}

#define OPEN(name, parameters, at, extra) \
  int name parameters { \
    va_list rest; \
    va_start(rest, flags); \
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
    va_end(rest); \
    return open_at(at, path, flags | extra, mode); \
  }

OPEN(open, (const char *path, int flags, ...), AT_FDCWD, 0)
OPEN(open64, (const char *path, int flags, ...), AT_FDCWD, O_LARGEFILE)
OPEN(openat, (int at, const char *path, int flags, ...), at, 0)
OPEN(openat64, (int at, const char *path, int flags, ...), at, O_LARGEFILE)

int close(int file) {
  if (watched(file)) inode_of[file] = 0;
  return (int)syscall(SYS_close, file);
}

int mkdir(const char *name, mode_t mode) {
  char path[PATH_MAX];
  struct stat found;
  pthread_mutex_lock(&order);
  int done = (int)syscall(SYS_mkdirat, AT_FDCWD, name, mode), error = errno;
  if (done == 0 && resolve(AT_FDCWD, name, path)) {
    if (lstat(path, &found) != 0) give_up("cannot stat");
    note_text('M', found.st_ino, path);
  }
  pthread_mutex_unlock(&order);
  errno = error;
  return done;
}

static int remove_at(int at, const char *name, int flags) {
  char path[PATH_MAX];
  pthread_mutex_lock(&order);
  int is_ours = resolve(at, name, path);
  int done = (int)syscall(SYS_unlinkat, at, name, flags), error = errno;
  if (done == 0 && is_ours) note_text('U', 0, path);
  pthread_mutex_unlock(&order);
  errno = error;
  return done;
}

int unlink(const char *name) { return remove_at(AT_FDCWD, name, 0); }
int unlinkat(int at, const char *name, int flags) { return remove_at(at, name, flags); }

static int rename_at(int from, const char *old, int to, const char *new) {
  char paths[2][PATH_MAX];
  pthread_mutex_lock(&order);
  int is_ours = resolve(from, old, paths[0]);
  if (is_ours != resolve(to, new, paths[1])) give_up("a rename over the border of the folder is not recorded");
  int done = (int)syscall(SYS_renameat, from, old, to, new), error = errno;
  if (done == 0 && is_ours) {
    struct iovec names[] = {{paths[0], strlen(paths[0]) + 1}, {paths[1], strlen(paths[1])}};
    note('R', 0, 0, names, 2);
  }
  pthread_mutex_unlock(&order);
  errno = error;
  return done;
}

int link(const char *old, const char *new) {
  char path[PATH_MAX];
  struct stat found;
  pthread_mutex_lock(&order);
  int done = (int)syscall(SYS_linkat, AT_FDCWD, old, AT_FDCWD, new, 0), error = errno;
  if (done == 0 && resolve(AT_FDCWD, new, path)) {
    if (lstat(path, &found) != 0) give_up("cannot stat");
    note_text('L', found.st_ino, path);
  }
  pthread_mutex_unlock(&order);
  errno = error;
  return done;
}

int rename(const char *old, const char *new) { return rename_at(AT_FDCWD, old, AT_FDCWD, new); }
int renameat(int from, const char *old, int to, const char *new) { return rename_at(from, old, to, new); }

/* Contents. */

static ssize_t write_watched(int file, const void *data, size_t size, off_t offset) {
  int error = has_fault(OF_WRITES);
  if (error) {
    errno = error;
    return -1;
  }
  pthread_mutex_lock(&order);
  ssize_t written = syscall(SYS_pwrite64, file, data, size, offset);
  error = errno;
  struct iovec kept = {(void *)data, written > 0 ? (size_t)written : 0};
  if (written > 0) note('W', inode_of[file], offset, &kept, 1);
  pthread_mutex_unlock(&order);
  errno = error;
  return written;
}

ssize_t pwrite64(int file, const void *data, size_t size, off64_t offset) {
  return watched(file) ? write_watched(file, data, size, offset) : syscall(SYS_pwrite64, file, data, size, offset);
}

ssize_t pwrite(int file, const void *data, size_t size, off_t offset) { return pwrite64(file, data, size, offset); }

static int truncate_to(int file, off_t size) {
  if (!watched(file)) return (int)syscall(SYS_ftruncate, file, size);
  pthread_mutex_lock(&order);
  int done = (int)syscall(SYS_ftruncate, file, size), error = errno;
  if (done == 0) note('T', inode_of[file], size, NULL, 0);
  pthread_mutex_unlock(&order);
  errno = error;
  return done;
}

int ftruncate(int file, off_t size) { return truncate_to(file, size); }
int ftruncate64(int file, off64_t size) { return truncate_to(file, size); }

static int sync_watched(int file, int is_data_enough) {
  long call = is_data_enough ? SYS_fdatasync : SYS_fsync;
  uint64_t inode = watched(file);
  if (!inode) return (int)syscall(call, file);
  int64_t number = note_sync('B', inode, 0);
  int error = has_fault(OF_SYNCS);
  int done = error ? -1 : (int)syscall(call, file);
  if (!error) error = errno;
  note_sync(done == 0 ? 'E' : 'F', inode, number);
  errno = error;
  return done;
}

int fsync(int file) { return sync_watched(file, 0); }
int fdatasync(int file) { return sync_watched(file, 1); }

/* Answers, and the ways into a watched file that are not recorded. */

static const char CREATED[] = "HTTP/1.1 201";

static void note_answer(const struct iovec *data, int count) {
  size_t length = sizeof CREATED - 1;
  if (count == 0 || data[0].iov_len < length || memcmp(data[0].iov_base, CREATED, length) != 0) return;
  pthread_mutex_lock(&order);
  note('A', 0, 0, data, count);
  pthread_mutex_unlock(&order);
}

ssize_t write(int file, const void *data, size_t size) {
  struct iovec all = {(void *)data, size};
  if (!watched(file)) {
    note_answer(&all, 1);
    return syscall(SYS_write, file, data, size);
  }
  off_t offset = lseek(file, 0, SEEK_CUR);
  ssize_t written = write_watched(file, data, size, offset);
  if (written > 0) lseek(file, offset + written, SEEK_SET);
  return written;
}

ssize_t writev(int file, const struct iovec *data, int count) {
  if (watched(file)) give_up("writev into a watched file is not recorded");
  note_answer(data, count);
  return syscall(SYS_writev, file, data, count);
}

ssize_t send(int file, const void *data, size_t size, int flags) {
  struct iovec all = {(void *)data, size};
  note_answer(&all, 1);
  return syscall(SYS_sendto, file, data, size, flags, NULL, 0);
}

ssize_t sendmsg(int file, const struct msghdr *message, int flags) {
  note_answer(message->msg_iov, (int)message->msg_iovlen);
  return syscall(SYS_sendmsg, file, message, flags);
}

#define REFUSE(result, name, parameters, arguments) \
  result name parameters { \
    if (watched(file)) give_up(#name " into a watched file is not recorded"); \
    return ((result(*) parameters)dlsym(RTLD_NEXT, #name))arguments; \
  }

REFUSE(ssize_t, pwritev, (int file, const struct iovec *data, int count, off_t at), (file, data, count, at))
REFUSE(ssize_t, pwritev64, (int file, const struct iovec *data, int count, off64_t at), (file, data, count, at))
REFUSE(int, fallocate, (int file, int mode, off_t at, off_t size), (file, mode, at, size))
REFUSE(int, posix_fallocate, (int file, off_t at, off_t size), (file, at, size))
REFUSE(int, posix_fallocate64, (int file, off64_t at, off64_t size), (file, at, size))
REFUSE(ssize_t, sendfile, (int file, int from, off_t *at, size_t size), (file, from, at, size))
