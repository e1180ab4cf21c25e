// The null server: the least that a FUSE server can do and still serve a file.
//
// It shows IMAGE as the read-only file DIRECTORY/disk. Every read is one pread() into a buffer
// that its thread reuses, and one fuse_reply_buf(). No format, no lookup, no cache, no lock. What
// it measures is FUSE itself (the request's way through the kernel, two copies, two context
// switches), so a server that does more can say how much of its time is its own.
//
// With --write the file can be written: every write is one pwrite() of what libfuse received, every
// fsync() one fdatasync(). It writes into IMAGE itself, which the caller makes: an empty file of the
// disk's size. With --one-view it takes the place of a regular file, and as nothing else shows its
// bytes the kernel may collect what is written (FUSE_CAP_WRITEBACK_CACHE), as Platter lets it there.
//
//   null-server [--direct-io] IMAGE DIRECTORY      stays in the foreground until unmounted
//   null-server --write IMAGE DIRECTORY
//   null-server --write --one-view IMAGE FILE

#define FUSE_USE_VERSION 312

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const double forever = 86400;
// What a file system that can change lets the kernel remember, as Platter does: nothing in a folder,
// where another file may be a view of the same bytes; for a second where there is one view.
static const double changing = 0, alone = 1;

// 1 MiB is what libfuse 3.14 can negotiate at most (256 pages); a larger read arrives in pieces.
enum { largest_read = 1 << 20, page = 4096 };

static struct {
    int file;
    struct stat attributes;
    const char *point;
    int direct_io, writable, one_view;
} image;

static fuse_ino_t disk_inode(void) { return image.one_view ? FUSE_ROOT_ID : 2; }

static double validity(void)
{
    return !image.writable ? forever : image.one_view ? alone : changing;
}

static int attributes_of(fuse_ino_t inode, struct stat *attributes)
{
    memset(attributes, 0, sizeof *attributes);
    attributes->st_ino = inode;
    attributes->st_uid = getuid();
    attributes->st_gid = getgid();
    if (inode == disk_inode()) {
        attributes->st_mode = S_IFREG | (image.writable ? 0644 : 0444);
        attributes->st_nlink = 1;
        attributes->st_size = image.attributes.st_size;
        attributes->st_blocks = image.attributes.st_blocks;
        attributes->st_mtim = image.attributes.st_mtim;
        return 0;
    }
    if (inode == FUSE_ROOT_ID) {
        attributes->st_mode = S_IFDIR | 0555;
        attributes->st_nlink = 2;
        return 0;
    }
    return ENOENT;
}

// Linux gives the root of a mount the size 0. With collected writes it takes another one only as the
// answer to a truncate(2).
static void *set_size(void *nothing)
{
    (void)nothing;
    if (truncate(image.point, 0) < 0)
        fprintf(stderr, "null-server: %s: %s\n", image.point, strerror(errno));
    return NULL;
}

static void on_init(void *context, struct fuse_conn_info *connection)
{
    (void)context;
    // fuse_reply_buf() never splices; this keeps libfuse from opening pipes it would not use.
    connection->want &= ~(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
    // The image does not change, so asking for its mtime before a read is a wasted round trip.
    connection->want &= ~FUSE_CAP_AUTO_INVAL_DATA;
    if (!image.one_view)
        return;
    connection->want |= connection->capable & FUSE_CAP_WRITEBACK_CACHE;
    // A thread of its own: the kernel sends nothing before this function has returned.
    pthread_t thread;
    if (pthread_create(&thread, NULL, set_size, NULL) == 0)
        pthread_detach(thread);
}

static void on_lookup(fuse_req_t request, fuse_ino_t parent, const char *name)
{
    if (image.one_view || parent != FUSE_ROOT_ID || strcmp(name, "disk") != 0) {
        fuse_reply_err(request, ENOENT);
        return;
    }
    struct fuse_entry_param entry = {
        .ino = disk_inode(), .attr_timeout = validity(), .entry_timeout = validity(),
    };
    attributes_of(disk_inode(), &entry.attr);
    fuse_reply_entry(request, &entry);
}

static void on_getattr(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info)
{
    (void)info;
    struct stat attributes;
    int error = attributes_of(inode, &attributes);
    if (error)
        fuse_reply_err(request, error);
    else
        fuse_reply_attr(request, &attributes, validity());
}

// Nothing can be set; the answer says what is so.
static void on_setattr(fuse_req_t request, fuse_ino_t inode, struct stat *wanted, int fields,
                       struct fuse_file_info *info)
{
    (void)wanted, (void)fields;
    on_getattr(request, inode, info);
}

static void on_readdir(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset,
                       struct fuse_file_info *info)
{
    (void)inode, (void)info;
    const struct { const char *name; fuse_ino_t inode; mode_t mode; } entries[] = {
        { ".", FUSE_ROOT_ID, S_IFDIR }, { "..", FUSE_ROOT_ID, S_IFDIR },
        { "disk", disk_inode(), S_IFREG },
    };
    char listing[512];
    size_t length = 0;
    for (size_t index = offset; index < sizeof entries / sizeof *entries; index++) {
        struct stat attributes = { .st_ino = entries[index].inode, .st_mode = entries[index].mode };
        size_t room = sizeof listing < size ? sizeof listing - length : size - length;
        size_t needed = fuse_add_direntry(request, listing + length, room, entries[index].name,
                                          &attributes, index + 1);
        if (needed > room)
            break;
        length += needed;
    }
    fuse_reply_buf(request, listing, length);
}

static void on_open(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info)
{
    if (inode != disk_inode()) {
        fuse_reply_err(request, EISDIR);
        return;
    }
    if (!image.writable && (info->flags & O_ACCMODE) != O_RDONLY) {
        fuse_reply_err(request, EROFS);
        return;
    }
    info->direct_io = image.direct_io;
    info->keep_cache = !image.direct_io;
    info->noflush = 1;
    fuse_reply_open(request, info);
}

static void on_read(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset,
                    struct fuse_file_info *info)
{
    (void)inode, (void)info;
    static _Thread_local char *buffer;
    if (!buffer && posix_memalign((void **)&buffer, page, largest_read) != 0) {
        fuse_reply_err(request, ENOMEM);
        return;
    }
    ssize_t length = pread(image.file, buffer, size < largest_read ? size : largest_read, offset);
    if (length < 0)
        fuse_reply_err(request, errno);
    else
        fuse_reply_buf(request, buffer, length);
}

static void on_write(fuse_req_t request, fuse_ino_t inode, const char *bytes, size_t size,
                     off_t offset, struct fuse_file_info *info)
{
    (void)inode, (void)info;
    ssize_t length = pwrite(image.file, bytes, size, offset);
    if (length < 0)
        fuse_reply_err(request, errno);
    else
        fuse_reply_write(request, length);
}

static void on_fsync(fuse_req_t request, fuse_ino_t inode, int data_only,
                     struct fuse_file_info *info)
{
    (void)inode, (void)data_only, (void)info;
    fuse_reply_err(request, fdatasync(image.file) < 0 ? errno : 0);
}

static const struct fuse_lowlevel_ops operations = {
    .init = on_init,
    .lookup = on_lookup,
    .getattr = on_getattr,
    .setattr = on_setattr,
    .readdir = on_readdir,
    .open = on_open,
    .read = on_read,
    .write = on_write,
    .fsync = on_fsync,
};

static int serve(void)
{
    struct fuse_args arguments = FUSE_ARGS_INIT(0, NULL);
    fuse_opt_add_arg(&arguments, "null-server");
    fuse_opt_add_arg(&arguments, image.writable ? "-orw,default_permissions,fsname=null-server"
                                                : "-oro,fsname=null-server");
    struct fuse_session *session = fuse_session_new(&arguments, &operations, sizeof operations, NULL);
    fuse_opt_free_args(&arguments);
    if (!session)
        return 1;

    int failed = 1;
    if (fuse_set_signal_handlers(session) == 0) {
        if (fuse_session_mount(session, image.point) == 0) {
            // The defaults (10 threads, no clone_fd) measured as fast as anything: see README.md.
            struct fuse_loop_config *loop = fuse_loop_cfg_create();
            failed = fuse_session_loop_mt(session, loop) != 0;
            fuse_loop_cfg_destroy(loop);
            fuse_session_unmount(session);
        }
        fuse_remove_signal_handlers(session);
    }
    fuse_session_destroy(session);
    return failed;
}

int main(int count, char **arguments)
{
    int first = 1;
    for (; first < count && strncmp(arguments[first], "--", 2) == 0; first++) {
        if (strcmp(arguments[first], "--direct-io") == 0)
            image.direct_io = 1;
        else if (strcmp(arguments[first], "--write") == 0)
            image.writable = 1;
        else if (strcmp(arguments[first], "--one-view") == 0)
            image.one_view = 1;
        else
            count = 0;
    }
    if (count - first != 2 || (image.one_view && !image.writable)) {
        fprintf(stderr, "usage: null-server [--direct-io] IMAGE DIRECTORY\n"
                        "       null-server --write IMAGE DIRECTORY\n"
                        "       null-server --write --one-view IMAGE FILE\n");
        return 2;
    }
    const char *path = arguments[first];
    image.point = arguments[first + 1];
    image.file = open(path, (image.writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
    if (image.file < 0 || fstat(image.file, &image.attributes) < 0) {
        fprintf(stderr, "null-server: %s: %s\n", path, strerror(errno));
        return 1;
    }
    return serve();
}
