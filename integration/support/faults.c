/*
 * Makes chosen I/O of one file fail, in the manner of a bad or a full disk; faults.py preloads it.
 *
 * FAULTY_FILE  what the path of the file ends with
 * FAULTS       a file with the fields of `struct control`, which the test sets while this runs
 * SYNC_SECONDS how long each fdatasync takes, of any file, as on a slow disk to which much is written
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct control {
	uint64_t calls;  /* of the file so far */
	uint64_t faults; /* of them were made to fail */
	uint64_t first;  /* the number of the first call to fail, counted from 1; 0: none */
	uint64_t last;
	/* An errno, or 0: half of the first is done, up to the end of a sector, for nothing tears one. What
	 * lies in one sector, and what is no transfer, gets `after` then, or EIO. */
	uint64_t error;
	uint64_t after;  /* the errno of those after the first */
	uint64_t paused; /* not 0: nothing fails, and calls are not counted */
};

static struct control *control;
static const char *file;

__attribute__((constructor)) static void prepare(void)
{
	const char *path = getenv("FAULTS");
	int descriptor;

	file = getenv("FAULTY_FILE");
	if (!path || !file)
		return;
	descriptor = open(path, O_RDWR | O_CLOEXEC);
	if (descriptor < 0)
		abort();
	control = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
	if (control == MAP_FAILED)
		abort();
	close(descriptor);
}

static int is_the_file(int descriptor)
{
	char link[64], path[4096];
	ssize_t count;
	size_t end;

	if (!control)
		return 0;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", descriptor);
	count = readlink(link, path, sizeof(path) - 1);
	if (count < 0)
		return 0;
	path[count] = 0;
	end = strlen(file);
	return (size_t)count >= end && strcmp(path + count - end, file) == 0;
}

/* 0: goes on; an errno; negative: half of it, or else the errno -fault. */
static int fault(int descriptor)
{
	uint64_t number;

	if (!is_the_file(descriptor) || control->paused)
		return 0;
	number = __atomic_add_fetch(&control->calls, 1, __ATOMIC_SEQ_CST);
	if (control->first == 0 || number < control->first || number > control->last)
		return 0;
	__atomic_add_fetch(&control->faults, 1, __ATOMIC_SEQ_CST);
	if (number > control->first)
		return control->after;
	if (control->error)
		return control->error;
	return control->after ? -(int)control->after : -EIO;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define TRANSFER(name, bytes_type, offset_type) \
	ssize_t name(int descriptor, bytes_type bytes, size_t count, offset_type offset) \
	{ \
		int error = fault(descriptor); \
		if (error < 0) { \
			uint64_t end = (offset + count / 2) / 512 * 512; \
			if (end > (uint64_t)offset) \
				return REAL(name)(descriptor, bytes, end - offset, offset); \
		} \
		if (error) { \
			errno = abs(error); \
			return -1; \
		} \
		return REAL(name)(descriptor, bytes, count, offset); \
	}

#define OTHER(name, parameters, arguments) \
	int name parameters \
	{ \
		int error = fault(descriptor); \
		if (error) { \
			errno = abs(error); \
			return -1; \
		} \
		return REAL(name) arguments; \
	}

TRANSFER(pread, void *, off_t)
TRANSFER(pread64, void *, off64_t)
TRANSFER(pwrite, const void *, off_t)
TRANSFER(pwrite64, const void *, off64_t)

int fdatasync(int descriptor)
{
	const char *seconds = getenv("SYNC_SECONDS");
	int error = fault(descriptor);

	if (seconds)
		sleep(atoi(seconds));
	if (error) {
		errno = abs(error);
		return -1;
	}
	return REAL(fdatasync)(descriptor);
}

OTHER(fsync, (int descriptor), (descriptor))
OTHER(ftruncate, (int descriptor, off_t size), (descriptor, size))
OTHER(ftruncate64, (int descriptor, off64_t size), (descriptor, size))
OTHER(fallocate, (int descriptor, int mode, off_t offset, off_t count),
	(descriptor, mode, offset, count))
OTHER(fallocate64, (int descriptor, int mode, off64_t offset, off64_t count),
	(descriptor, mode, offset, count))
