// What Swift cannot import of libfuse 3: versioned macros, and a struct fuse_args made by a macro.
#pragma once

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>
#include <stddef.h>

static inline struct fuse_session *
platter_fuse_session_new(const struct fuse_lowlevel_ops *operations, void *owner)
{
	char *arguments[] = { (char *)"platter", NULL };
	struct fuse_args args = FUSE_ARGS_INIT(1, arguments);

	return fuse_session_new(&args, operations, sizeof(*operations), owner);
}

// FUSE_BUFVEC_INIT is a macro, and struct fuse_bufvec ends in an array.
static inline int platter_fuse_notify_store(struct fuse_session *session, fuse_ino_t node,
					    const void *bytes, size_t count)
{
	struct fuse_bufvec buffer = FUSE_BUFVEC_INIT(count);

	buffer.buf[0].mem = (void *)bytes;
	return fuse_lowlevel_notify_store(session, node, 0, &buffer, 0);
}

// The number of threads that serve at once is libfuse's own default of 10.
static inline int platter_fuse_session_loop(struct fuse_session *session)
{
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	int result;

	if (config == NULL)
		return -1;
	result = fuse_session_loop_mt(session, config);
	fuse_loop_cfg_destroy(config);
	return result;
}
