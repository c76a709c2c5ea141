/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The device below a volume: an array of bytes behind a few callbacks, so
 * that tests can put a faulty or recording one there.
 *
 * Offsets and lengths are in bytes. All callbacks return 0 or a negative
 * errno, move exactly len bytes or fail, and may be called from several
 * threads at once.
 */
#ifndef UDF_STORE_BLOCKDEV_H
#define UDF_STORE_BLOCKDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct udf_blockdev;

struct udf_blockdev_ops {
	/* Sees every completed write; may come from a cache. */
	int (*read)(struct udf_blockdev *dev, uint64_t offset, void *buf,
		    size_t len);
	/* May stay in a cache until flush, which then reports its error. */
	int (*write)(struct udf_blockdev *dev, uint64_t offset,
		     const void *buf, size_t len);
	/* Every completed write is on the medium. */
	int (*flush)(struct udf_blockdev *dev);
	/* Reads what is on the medium, past any cache. Flush first. */
	int (*read_medium)(struct udf_blockdev *dev, uint64_t offset, void *buf,
			   size_t len);
	/* Writes past any cache: an error of the medium is returned here. */
	int (*write_medium)(struct udf_blockdev *dev, uint64_t offset,
			    const void *buf, size_t len);
	/* Releases dev. */
	void (*close)(struct udf_blockdev *dev);
};

struct udf_blockdev {
	const struct udf_blockdev_ops *ops;
	uint64_t size; /* bytes */
	bool read_only;
	bool uncached; /* read_medium and write_medium pass the cache */
};

/*
 * Open an image file or a block device.
 *
 * For writing, it is locked against other writers (an open file description
 * lock; O_EXCL on a block device as well). Errors: those of open(2);
 * -EBUSY, another process has had it for writing for three seconds; -EROFS, it
 * cannot be opened for writing; -EMEDIUMTYPE, neither a file nor a block
 * device.
 */
int udf_blockdev_open(const char *path, bool read_only,
		      struct udf_blockdev **dev);

/*
 * Does another process have it for writing, and keep it for three seconds? Its
 * state is in that one's memory then. False also if it cannot be opened:
 * opening the volume says why.
 */
bool udf_blockdev_is_in_use(const char *path);

/* NULL is fine. */
void udf_blockdev_close(struct udf_blockdev *dev);

/*
 * These check the range against the size first: -EINVAL. Writes on a
 * read-only device are -EROFS.
 */
int udf_blockdev_read(struct udf_blockdev *dev, uint64_t offset, void *buf,
		      size_t len);
int udf_blockdev_write(struct udf_blockdev *dev, uint64_t offset,
		       const void *buf, size_t len);
int udf_blockdev_flush(struct udf_blockdev *dev);
int udf_blockdev_read_medium(struct udf_blockdev *dev, uint64_t offset,
			     void *buf, size_t len);
int udf_blockdev_write_medium(struct udf_blockdev *dev, uint64_t offset,
			      const void *buf, size_t len);

/*
 * As udf_blockdev_write(), for data that is read back soon: whole pages of a
 * large write go past the cache at once. Reading a file past the cache and
 * writing it through the cache wait for each other in the kernel; both past
 * the cache do not.
 */
int udf_blockdev_write_large(struct udf_blockdev *dev, uint64_t offset,
			     const void *buf, size_t len);

/*
 * The negative errno tells of the medium at that place, not of the device's
 * surroundings (no space in the file system that has the image, say):
 * relocating may help.
 */
bool udf_blockdev_is_medium_error(int error);

/* Memory that O_DIRECT accepts; free() it. NULL: none. */
void *udf_blockdev_alloc(size_t len);

#endif /* UDF_STORE_BLOCKDEV_H */
