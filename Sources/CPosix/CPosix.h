// What Swift cannot import of glibc: macros over control messages and wait statuses, and headers
// that its module map leaves out.
#pragma once

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/types.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>
#include <syslog.h>

// One message with at most one descriptor; -1 for none.
static inline ssize_t
platter_send(int socket, const void *bytes, size_t count, int descriptor)
{
	char control[CMSG_SPACE(sizeof(int))];
	struct iovec vector = { (void *)bytes, count };
	struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1 };

	if (descriptor >= 0) {
		struct cmsghdr *header;

		memset(control, 0, sizeof(control));
		message.msg_control = control;
		message.msg_controllen = sizeof(control);
		header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(header), &descriptor, sizeof(int));
	}
	return sendmsg(socket, &message, MSG_NOSIGNAL);
}

// The received descriptor is closed on exec; -1 where none came.
static inline ssize_t
platter_receive(int socket, void *bytes, size_t count, int *descriptor)
{
	char control[CMSG_SPACE(sizeof(int))];
	struct iovec vector = { bytes, count };
	struct msghdr message = {
		.msg_iov = &vector, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *header;
	ssize_t received = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);

	*descriptor = -1;
	if (received < 0)
		return received;
	for (header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header))
		if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
			memcpy(descriptor, CMSG_DATA(header), sizeof(int));
	return received;
}

// Swift hides fork(2), which is unsafe once there are threads.
static inline pid_t platter_fork(void) { return fork(); }

// The exit status, or 128 and the signal, as a shell counts.
static inline int platter_exit_status(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

extern char **environ;

static inline char **platter_environment(void) { return environ; }

// Everything from `first` on is closed in the child. From <spawn.h>, where it stands behind
// _GNU_SOURCE; defining that here would give this module a view of the shared headers that differs
// from the other modules' own.
static inline int
platter_spawn_close_from(posix_spawn_file_actions_t *actions, int first)
{
	extern int posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t *, int);

	return posix_spawn_file_actions_addclosefrom_np(actions, first);
}

// False where the path is too long for a socket's address.
static inline int platter_unix_address(struct sockaddr_un *address, const char *path)
{
	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	if (strlen(path) >= sizeof(address->sun_path)) {
		errno = ENAMETOOLONG;
		return 0;
	}
	strcpy(address->sun_path, path);
	return 1;
}

static inline int platter_connect_unix(int socket, const char *path)
{
	struct sockaddr_un address;

	if (!platter_unix_address(&address, path))
		return -1;
	return connect(socket, (struct sockaddr *)&address, sizeof(address));
}

static inline int platter_bind_unix(int socket, const char *path)
{
	struct sockaddr_un address;

	if (!platter_unix_address(&address, path))
		return -1;
	return bind(socket, (struct sockaddr *)&address, sizeof(address));
}

// The message is an argument and not the format: it can hold what an image says.
static inline void platter_syslog(int priority, const char *message)
{
	syslog(priority, "%s", message);
}

// Linux's own, which <fcntl.h> shows only to programs that define _GNU_SOURCE.
int fallocate(int descriptor, int mode, off_t offset, off_t length);
int syncfs(int descriptor);

static inline int platter_punch(int descriptor, off_t offset, off_t length)
{
	const int keep_size = 0x01, punch_hole = 0x02; // <linux/falloc.h>

	return fallocate(descriptor, punch_hole | keep_size, offset, length);
}

static inline int platter_syncfs(int descriptor) { return syncfs(descriptor); }

// Whether a file is kept in memory only: TMPFS_MAGIC, RAMFS_MAGIC of <linux/magic.h>.
static inline int platter_is_in_memory(int descriptor)
{
	struct statfs status;

	return fstatfs(descriptor, &status) == 0
		&& (status.f_type == 0x01021994 || status.f_type == 0x858458f6);
}

// Whether a file is on the device that the mount table calls `name`, as "0:47".
static inline int platter_has_device(dev_t device, const char *name)
{
	char text[32];

	snprintf(text, sizeof(text), "%u:%u", major(device), minor(device));
	return strcmp(text, name) == 0;
}
