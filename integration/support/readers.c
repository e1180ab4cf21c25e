/*
 * Threads that read a view of which every byte is known, and compare: readers.py makes it and runs it.
 *
 * readers KNOWN THREADS SECONDS random|sequential VIEW...
 *
 * Each thread reads one view, the views in turn: `random` reads of 1 to 65536 bytes; `sequential` readers begin at
 * places of their own and go round. Ends when it is time, whatever is still being waited for, with a line for each
 * view: how many bytes were read. Or with status 1 and the first mismatch.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { RANDOM_MOST = 65536, PIECE = 128 << 10 };

static char **views;
static int view_count;
static const unsigned char *known;
static uint64_t size;
static int is_random, threads;
static double end;
static atomic_ullong *read_bytes;

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static void fail(const char *what, const char *path, uint64_t place, uint64_t count)
{
	printf("%s: %s, %llu bytes at %llu\n", what, path, (unsigned long long)count,
	       (unsigned long long)place);
	fflush(stdout);
	_exit(1);
}

/* xorshift64* */
static uint64_t next(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 2685821657736338717u;
}

static void *reader(void *argument)
{
	uint64_t number = (uintptr_t)argument, state = number * 7919 + 1;
	uint64_t place = size / threads * number;
	const char *path = views[number % view_count];
	unsigned char *buffer = malloc(PIECE);
	int file = open(path, O_RDONLY);

	if (!buffer || file < 0)
		fail(strerror(errno), path, 0, 0);
	while (now() < end) {
		uint64_t count = PIECE;
		ssize_t given;

		if (is_random) {
			count = 1 + next(&state) % RANDOM_MOST;
			place = next(&state) % size;
		} else if (place >= size) {
			/* So that it is not the kernel that answers the next round. */
			posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
			place = 0;
		}
		if (count > size - place)
			count = size - place;
		given = pread(file, buffer, count, place);
		if (given < 0)
			fail(strerror(errno), path, place, count);
		if ((uint64_t)given != count || memcmp(buffer, known + place, count))
			fail("other bytes than known", path, place, count);
		atomic_fetch_add(&read_bytes[number % view_count], count);
		place += count;
	}
	close(file);
	free(buffer);
	return NULL;
}

int main(int count, char **words)
{
	struct stat status;
	pthread_t thread;
	int file;

	if (count < 6)
		return 2;
	threads = atoi(words[2]);
	end = now() + atof(words[3]);
	is_random = !strcmp(words[4], "random");
	views = words + 5;
	view_count = count - 5;
	file = open(words[1], O_RDONLY);
	if (file < 0 || fstat(file, &status))
		fail(strerror(errno), words[1], 0, 0);
	size = status.st_size;
	for (int i = 0; i < view_count; i++)
		if (stat(views[i], &status) || (uint64_t)status.st_size != size)
			fail("another size than known", views[i], 0, status.st_size);
	known = mmap(NULL, size, PROT_READ, MAP_SHARED, file, 0);
	read_bytes = calloc(view_count, sizeof(*read_bytes));
	if (known == MAP_FAILED || !read_bytes || !size)
		fail("no memory", words[1], 0, size);
	for (int i = 0; i < threads; i++)
		if (pthread_create(&thread, NULL, reader, (void *)(uintptr_t)i))
			fail("no thread", "", 0, i);
	while (now() < end)
		usleep(10000);
	for (int i = 0; i < view_count; i++)
		printf("%llu\n", (unsigned long long)read_bytes[i]);
	fflush(stdout);
	_exit(0);
}
