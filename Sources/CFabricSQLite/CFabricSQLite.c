#define _GNU_SOURCE
#include "CFabricSQLite.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAXIMUM_NAME = 255 };

struct fabric_vfs {
    sqlite3_vfs base;
    fabric_disk disk;
    char name[32];
};

typedef struct fabric_file {
    sqlite3_file base;
    fabric_vfs *vfs;
    void *file;
} fabric_file;

static fabric_vfs *owner(sqlite3_vfs *vfs) { return (fabric_vfs *)vfs; }
static fabric_file *opened(sqlite3_file *file) { return (fabric_file *)file; }

static int file_close(sqlite3_file *file) {
    opened(file)->vfs->disk.close(opened(file)->file);
    file->pMethods = NULL;
    return SQLITE_OK;
}

static int file_read(sqlite3_file *file, void *buffer, int count, sqlite3_int64 offset) {
    int got = opened(file)->vfs->disk.read(opened(file)->file, buffer, count, offset);
    if (got < 0 || got > count) return SQLITE_IOERR_READ;
    if (got == count) return SQLITE_OK;
    memset((char *)buffer + got, 0, (size_t)(count - got));
    return SQLITE_IOERR_SHORT_READ;
}

static int file_write(sqlite3_file *file, const void *buffer, int count, sqlite3_int64 offset) {
    switch (opened(file)->vfs->disk.write(opened(file)->file, buffer, count, offset)) {
    case FABRIC_DISK_OK: return SQLITE_OK;
    case FABRIC_DISK_FULL: return SQLITE_FULL;
    default: return SQLITE_IOERR_WRITE;
    }
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size) {
    return opened(file)->vfs->disk.truncate(opened(file)->file, size) ? SQLITE_IOERR_TRUNCATE : SQLITE_OK;
}

// A full disk too is an I/O error here: after a failed sync nothing is known, whatever the reason.
static int file_sync(sqlite3_file *file, int flags) {
    (void)flags;
    return opened(file)->vfs->disk.sync(opened(file)->file) ? SQLITE_IOERR_FSYNC : SQLITE_OK;
}

static int file_size(sqlite3_file *file, sqlite3_int64 *size) {
    *size = opened(file)->vfs->disk.size(opened(file)->file);
    return *size < 0 ? SQLITE_IOERR_FSTAT : SQLITE_OK;
}

// One connection opens a file; that no other does is for the disk to see to.
static int file_lock(sqlite3_file *file, int level) {
    (void)file, (void)level;
    return SQLITE_OK;
}

static int file_check_reserved_lock(sqlite3_file *file, int *reserved) {
    (void)file;
    *reserved = 0;
    return SQLITE_OK;
}

static int file_control(sqlite3_file *file, int operation, void *argument) {
    (void)file, (void)operation, (void)argument;
    return SQLITE_NOTFOUND;
}

static int file_sector_size(sqlite3_file *file) {
    (void)file;
    return 4096;
}

// A write that is cut short harms no bytes outside its range; nothing else is promised (no atomic writes, no order).
static int file_device_characteristics(sqlite3_file *file) {
    (void)file;
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

// Version 1: no shared memory and no mapping, so that a WAL needs locking_mode=EXCLUSIVE and keeps its index on the heap.
static const sqlite3_io_methods methods = {
    .iVersion = 1,
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_lock,
    .xCheckReservedLock = file_check_reserved_lock,
    .xFileControl = file_control,
    .xSectorSize = file_sector_size,
    .xDeviceCharacteristics = file_device_characteristics,
};

// Temporary files have no name; they are refused, as temp_store=MEMORY keeps them off the disk.
static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out) {
    file->pMethods = NULL;
    if (!name) return SQLITE_CANTOPEN;
    opened(file)->vfs = owner(vfs);
    int status = owner(vfs)->disk.open(owner(vfs)->disk.context, name, &opened(file)->file);
    if (status != FABRIC_DISK_OK) return status == FABRIC_DISK_FULL ? SQLITE_FULL : SQLITE_CANTOPEN;
    file->pMethods = &methods;
    if (out) *out = flags;
    return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync) {
    (void)sync;
    switch (owner(vfs)->disk.remove(owner(vfs)->disk.context, name)) {
    case FABRIC_DISK_OK: return SQLITE_OK;
    case FABRIC_DISK_NOT_FOUND: return SQLITE_IOERR_DELETE_NOENT;
    default: return SQLITE_IOERR_DELETE;
    }
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *result) {
    (void)flags;
    int exists = owner(vfs)->disk.exists(owner(vfs)->disk.context, name);
    if (exists < 0) return SQLITE_IOERR_ACCESS;
    *result = exists;
    return SQLITE_OK;
}

static int vfs_full_pathname(sqlite3_vfs *vfs, const char *name, int count, char *out) {
    (void)vfs;
    size_t length = strlen(name);
    if (length > MAXIMUM_NAME || (int)length >= count) return SQLITE_CANTOPEN;
    memcpy(out, name, length + 1);
    return SQLITE_OK;
}

static int vfs_randomness(sqlite3_vfs *vfs, int count, char *out) {
    owner(vfs)->disk.randomness(owner(vfs)->disk.context, out, count);
    return count;
}

static int vfs_sleep(sqlite3_vfs *vfs, int microseconds) {
    (void)vfs;
    return microseconds;
}

// SQL never reads the clock. If some statement does, it finds the Unix epoch: plainly wrong, and the same in every run.
static int vfs_current_time_ms(sqlite3_vfs *vfs, sqlite3_int64 *milliseconds) {
    (void)vfs;
    *milliseconds = 210866760000000;
    return SQLITE_OK;
}

static int vfs_current_time(sqlite3_vfs *vfs, double *days) {
    (void)vfs;
    *days = 2440587.5;
    return SQLITE_OK;
}

static int vfs_last_error(sqlite3_vfs *vfs, int count, char *out) {
    (void)vfs;
    if (count > 0) out[0] = 0;
    return 0;
}

static void *vfs_dlopen(sqlite3_vfs *vfs, const char *name) {
    (void)vfs, (void)name;
    return NULL;
}

static void vfs_dlerror(sqlite3_vfs *vfs, int count, char *out) {
    (void)vfs;
    if (count > 0) out[0] = 0;
}

static void (*vfs_dlsym(sqlite3_vfs *vfs, void *library, const char *name))(void) {
    (void)vfs, (void)library, (void)name;
    return NULL;
}

static void vfs_dlclose(sqlite3_vfs *vfs, void *library) { (void)vfs, (void)library; }

// File names that are URIs choose the VFS. The setting is the process's and closes when SQLite is initialised; after
// that it must have been compiled in, as Debian does.
static int enable_uri_names(void) {
    return sqlite3_config(SQLITE_CONFIG_URI, 1) == SQLITE_OK || sqlite3_compileoption_used("USE_URI");
}

fabric_vfs *fabric_vfs_create(fabric_disk disk) {
    static _Atomic unsigned counter;
    if (!enable_uri_names()) return NULL;
    fabric_vfs *vfs = calloc(1, sizeof *vfs);
    if (!vfs) return NULL;
    vfs->disk = disk;
    snprintf(vfs->name, sizeof vfs->name, "fabric-%u", atomic_fetch_add(&counter, 1));
    vfs->base = (sqlite3_vfs){
        .iVersion = 2,
        .szOsFile = sizeof(fabric_file),
        .mxPathname = MAXIMUM_NAME + 1,
        .zName = vfs->name,
        .xOpen = vfs_open,
        .xDelete = vfs_delete,
        .xAccess = vfs_access,
        .xFullPathname = vfs_full_pathname,
        .xDlOpen = vfs_dlopen,
        .xDlError = vfs_dlerror,
        .xDlSym = vfs_dlsym,
        .xDlClose = vfs_dlclose,
        .xRandomness = vfs_randomness,
        .xSleep = vfs_sleep,
        .xCurrentTime = vfs_current_time,
        .xGetLastError = vfs_last_error,
        .xCurrentTimeInt64 = vfs_current_time_ms,
    };
    if (sqlite3_vfs_register(&vfs->base, 0) != SQLITE_OK) {
        free(vfs);
        return NULL;
    }
    return vfs;
}

void fabric_vfs_destroy(fabric_vfs *vfs) {
    sqlite3_vfs_unregister(&vfs->base);
    free(vfs);
}

const char *fabric_vfs_name(const fabric_vfs *vfs) { return vfs->name; }

// SQLite's generator is the process's. Each stretch of work of a store begins with a seed of its own and has the generator
// to itself, so that two stores in one process draw the same numbers as each alone. Recursive, should one store's work
// call another's.
static pthread_mutex_t generator;
static pthread_once_t generator_once = PTHREAD_ONCE_INIT;

static void make_generator(void) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&generator, &attributes);
    pthread_mutexattr_destroy(&attributes);
}

void fabric_sqlite_begin(int seed) {
    pthread_once(&generator_once, make_generator);
    pthread_mutex_lock(&generator);
    sqlite3_test_control(SQLITE_TESTCTRL_PRNG_SEED, seed, (sqlite3 *)NULL);
}

void fabric_sqlite_end(void) { pthread_mutex_unlock(&generator); }

int fabric_sqlite_parameter_count(void *statement) { return sqlite3_bind_parameter_count(statement); }

int fabric_sqlite_bind_null(void *statement, int index) { return sqlite3_bind_null(statement, index); }

int fabric_sqlite_bind_integer(void *statement, int index, int64_t value) {
    return sqlite3_bind_int64(statement, index, value);
}

int fabric_sqlite_bind_text(void *statement, int index, const void *bytes, int64_t count) {
    return sqlite3_bind_text64(statement, index, bytes != NULL ? bytes : "", (sqlite3_uint64)count, SQLITE_TRANSIENT,
                               SQLITE_UTF8);
}

int fabric_sqlite_bind_blob(void *statement, int index, const void *bytes, int64_t count) {
    if (count == 0) return sqlite3_bind_zeroblob(statement, index, 0);
    return sqlite3_bind_blob64(statement, index, bytes, (sqlite3_uint64)count, SQLITE_TRANSIENT);
}

int fabric_sqlite_step(void *statement) { return sqlite3_step(statement); }
int fabric_sqlite_reset(void *statement) { return sqlite3_reset(statement); }

int fabric_sqlite_column_count(void *statement) { return sqlite3_column_count(statement); }
const char *fabric_sqlite_column_name(void *statement, int index) { return sqlite3_column_name(statement, index); }
int fabric_sqlite_column_type(void *statement, int index) { return sqlite3_column_type(statement, index); }
int64_t fabric_sqlite_column_integer(void *statement, int index) { return sqlite3_column_int64(statement, index); }

const void *fabric_sqlite_column_bytes(void *statement, int index, int *count) {
    const void *bytes = sqlite3_column_blob(statement, index);
    *count = sqlite3_column_bytes(statement, index);
    return bytes;
}

int64_t fabric_sqlite_total_changes(void *connection) { return sqlite3_total_changes(connection); }
int64_t fabric_sqlite_changes(void *connection) { return sqlite3_changes(connection); }
const char *fabric_sqlite_message(void *connection) { return sqlite3_errmsg(connection); }

int fabric_lock_file(int descriptor) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 0};
    return fcntl(descriptor, F_OFD_SETLK, &lock) == 0 ? 0 : errno;
}
