// A SQLite VFS whose files are somebody else's: every file operation becomes a call through a table of functions.
// sqlite3.h stays out of this header, so that Swift sees one declaration of SQLite, not two.
#pragma once
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// What an operation answers.
enum {
    FABRIC_DISK_OK = 0,
    FABRIC_DISK_FULL = 1,
    FABRIC_DISK_NOT_FOUND = 2,
    FABRIC_DISK_FAILED = 3,
};

// `context` goes to the functions on names, `file` (what `open` gave) to the functions on files.
typedef struct fabric_disk {
    void *context;
    int (*open)(void *context, const char *name, void **file);
    int (*remove)(void *context, const char *name);
    int (*exists)(void *context, const char *name);
    void (*randomness)(void *context, void *buffer, int count);
    // Returns the number of bytes read, or -1.
    int (*read)(void *file, void *buffer, int count, int64_t offset);
    int (*write)(void *file, const void *buffer, int count, int64_t offset);
    int (*truncate)(void *file, int64_t size);
    int (*sync)(void *file);
    // Returns the size in bytes, or -1.
    int64_t (*size)(void *file);
    void (*close)(void *file);
} fabric_disk;

typedef struct fabric_vfs fabric_vfs;

// Registers a VFS under a name of its own in this process; never as the default. NULL when there is no memory, or when
// SQLite was initialised before without URI file names. `disk.context` must outlive the VFS.
fabric_vfs *fabric_vfs_create(fabric_disk disk);
// To be called when no connection uses it.
void fabric_vfs_destroy(fabric_vfs *vfs);
const char *fabric_vfs_name(const fabric_vfs *vfs);

// Takes the generator that SQLite keeps for the whole process (WAL salts, journal nonces) for this thread, and seeds it,
// until `fabric_sqlite_end`: a store's run can be repeated, whatever other stores do. `seed` must not be 0.
void fabric_sqlite_begin(int seed);
void fabric_sqlite_end(void);

int fabric_sqlite_parameter_count(void *statement);

// SQLite's functions of these names, on statements and connections that somebody else owns. Binding copies, and a blob or
// text of no bytes is not NULL. Each returns SQLite's result code where it returns one.
int fabric_sqlite_bind_null(void *statement, int index);
int fabric_sqlite_bind_integer(void *statement, int index, int64_t value);
int fabric_sqlite_bind_text(void *statement, int index, const void *bytes, int64_t count);
int fabric_sqlite_bind_blob(void *statement, int index, const void *bytes, int64_t count);
int fabric_sqlite_step(void *statement);
int fabric_sqlite_reset(void *statement);

enum {
    FABRIC_SQLITE_OK = 0,
    FABRIC_SQLITE_ROW = 100,
    FABRIC_SQLITE_DONE = 101,
};

// Columns of the row that `fabric_sqlite_step` came to, from 0.
enum {
    FABRIC_SQLITE_INTEGER = 1,
    FABRIC_SQLITE_FLOAT = 2,
    FABRIC_SQLITE_TEXT = 3,
    FABRIC_SQLITE_BLOB = 4,
    FABRIC_SQLITE_NULL = 5,
};
int fabric_sqlite_column_count(void *statement);
const char *fabric_sqlite_column_name(void *statement, int index);
int fabric_sqlite_column_type(void *statement, int index);
int64_t fabric_sqlite_column_integer(void *statement, int index);
// The bytes of a text or blob, valid until the next step; NULL when there are none.
const void *fabric_sqlite_column_bytes(void *statement, int index, int *count);

// Of a connection: the rows changed since it was opened, and by the last statement that changed any, and the last error's
// message.
int64_t fabric_sqlite_total_changes(void *connection);
int64_t fabric_sqlite_changes(void *connection);
const char *fabric_sqlite_message(void *connection);

// Takes an exclusive lock on the whole of an open file that lasts as long as the open file description (an OFD lock).
// It excludes other such openers, in this process too, and programs that use POSIX locks, as the sqlite3 shell does.
// Returns 0, or errno.
int fabric_lock_file(int descriptor);

#ifdef __cplusplus
}
#endif
