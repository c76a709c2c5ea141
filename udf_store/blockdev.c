/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A file or block device as struct udf_blockdev: see blockdev.h.
 *
 * Two descriptors of the same file: one goes through the page cache, the
 * other, with O_DIRECT, past it. The kernel keeps them coherent as long as no
 * buffered write dirties a page while a direct write to a part of that page
 * is under way; direct_lock sees to that. Where O_DIRECT is refused (tmpfs),
 * the range is dropped from the cache before it is read.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "blockdev.h"

/* Fits every device's O_DIRECT rules. */
#define DIRECT_ALIGN_MAX 4096u
#define DIRECT_ALIGN_MIN 512u
/* Of the page cache. */
#define PAGE_BYTES 4096u
/* The most one bounce of a direct transfer takes. */
#define BOUNCE_BYTES (1024u * 1024u)
#define BOUNCES_KEPT 4u
/* Who has the volume may be about to close it: three seconds in all. */
#define LOCK_TRIES 60u
#define LOCK_PAUSE_NS (50L * 1000 * 1000)
/* A write of at least so much is sent on to the device at once. */
#define WRITE_OUT_BYTES (64u * 1024u)

struct file_dev {
	struct udf_blockdev dev;
	int fd;
	int direct_fd; /* -1: O_DIRECT is refused */
	uint32_t direct_align;
	/*
	 * Buffered writes hold it shared, and so do direct writes of whole
	 * pages: they share none. Other direct writes hold it exclusively.
	 */
	pthread_rwlock_t direct_lock;
	pthread_mutex_t bounce_lock;
	unsigned int bounces;
	void *bounce[BOUNCES_KEPT];
};

static struct file_dev *file_dev(struct udf_blockdev *dev)
{
	return (struct file_dev *)dev;
}

void *udf_blockdev_alloc(size_t len)
{
	void *p = NULL;

	if (posix_memalign(&p, DIRECT_ALIGN_MAX, len) != 0) {
		return NULL;
	}
	return p;
}

/*
 * All len bytes, over short reads and signals. min_len: what must have been
 * read when the file ends (a direct read may ask for more than there is).
 */
static int pread_all(int fd, uint64_t offset, void *buf, size_t len,
		     size_t min_len)
{
	uint8_t *p = buf;
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(fd, p + done, len - done,
				  (off_t)(offset + done));

		if (n < 0) {
			if (errno == EINTR) {
				continue;
			}
			return -errno;
		}
		if (n == 0) {
			break;
		}
		done += (size_t)n;
		if (done >= min_len) {
			break;
		}
	}
	if (done < min_len) {
		/* The file was cut shorter behind our back. */
		return -EIO;
	}
	return 0;
}

static int pwrite_all(int fd, uint64_t offset, const void *buf, size_t len)
{
	const uint8_t *p = buf;
	size_t done = 0;

	while (done < len) {
		ssize_t n = pwrite(fd, p + done, len - done,
				   (off_t)(offset + done));

		if (n < 0) {
			if (errno == EINTR) {
				continue;
			}
			return -errno;
		}
		if (n == 0) {
			return -EIO;
		}
		done += (size_t)n;
	}
	return 0;
}

static int file_read(struct udf_blockdev *dev, uint64_t offset, void *buf,
		     size_t len)
{
	return pread_all(file_dev(dev)->fd, offset, buf, len, len);
}

static int file_write(struct udf_blockdev *dev, uint64_t offset,
		      const void *buf, size_t len)
{
	struct file_dev *file = file_dev(dev);
	int ret = 0;

	pthread_rwlock_rdlock(&file->direct_lock);
	ret = pwrite_all(file->fd, offset, buf, len);
	pthread_rwlock_unlock(&file->direct_lock);
	if (ret == 0 && len >= WRITE_OUT_BYTES) {
		/* Only to have less to wait for when the flush comes. */
		(void)sync_file_range(file->fd, (off_t)offset, (off_t)len,
				      SYNC_FILE_RANGE_WRITE);
	}
	return ret;
}

static int file_flush(struct udf_blockdev *dev)
{
	while (fdatasync(file_dev(dev)->fd) != 0) {
		if (errno != EINTR) {
			return -errno;
		}
	}
	return 0;
}

/* A buffer of BOUNCE_BYTES that O_DIRECT accepts. NULL: no memory. */
static uint8_t *take_bounce(struct file_dev *file)
{
	uint8_t *bounce = NULL;

	pthread_mutex_lock(&file->bounce_lock);
	if (file->bounces > 0) {
		file->bounces--;
		bounce = file->bounce[file->bounces];
	}
	pthread_mutex_unlock(&file->bounce_lock);
	if (bounce == NULL) {
		bounce = udf_blockdev_alloc(BOUNCE_BYTES);
	}
	return bounce;
}

static void give_bounce(struct file_dev *file, uint8_t *bounce)
{
	pthread_mutex_lock(&file->bounce_lock);
	if (file->bounces < BOUNCES_KEPT) {
		file->bounce[file->bounces] = bounce;
		file->bounces++;
		bounce = NULL;
	}
	pthread_mutex_unlock(&file->bounce_lock);
	free(bounce);
}

static bool is_aligned(const void *buf, uint64_t offset, size_t len,
		       uint32_t align)
{
	return (uintptr_t)buf % DIRECT_ALIGN_MAX == 0 && offset % align == 0 &&
	       len % align == 0;
}

/* A direct read through an aligned buffer. */
static int bounced_read(struct file_dev *file, uint64_t offset, uint8_t *buf,
			size_t len)
{
	uint32_t align = file->direct_align;
	uint8_t *bounce = NULL;
	int ret = 0;

	bounce = take_bounce(file);
	if (bounce == NULL) {
		return -ENOMEM;
	}
	while (len > 0 && ret == 0) {
		size_t head = (size_t)(offset % align);
		size_t part = BOUNCE_BYTES - head;
		size_t whole = 0;

		if (part > len) {
			part = len;
		}
		whole = (head + part + align - 1) / align * align;
		ret = pread_all(file->direct_fd, offset - head, bounce, whole,
				head + part);
		if (ret == 0) {
			memcpy(buf, bounce + head, part);
		}
		offset += part;
		buf += part;
		len -= part;
	}
	give_bounce(file, bounce);
	return ret;
}

static int file_read_medium(struct udf_blockdev *dev, uint64_t offset,
			    void *buf, size_t len)
{
	struct file_dev *file = file_dev(dev);

	if (file->direct_fd < 0) {
		(void)posix_fadvise(file->fd, (off_t)offset, (off_t)len,
				    POSIX_FADV_DONTNEED);
		return pread_all(file->fd, offset, buf, len, len);
	}
	if (is_aligned(buf, offset, len, file->direct_align)) {
		return pread_all(file->direct_fd, offset, buf, len, len);
	}
	return bounced_read(file, offset, buf, len);
}

/*
 * A direct write through an aligned buffer. Where the range does not start or
 * end on the device's sectors, what is around it in them is read first.
 */
static int bounced_write(struct file_dev *file, uint64_t offset,
			 const uint8_t *buf, size_t len)
{
	uint32_t align = file->direct_align;
	uint8_t *bounce = NULL;
	int ret = 0;

	bounce = take_bounce(file);
	if (bounce == NULL) {
		return -ENOMEM;
	}
	while (len > 0 && ret == 0) {
		size_t head = (size_t)(offset % align);
		size_t part = BOUNCE_BYTES - head;
		size_t whole = 0;

		if (part > len) {
			part = len;
		}
		whole = (head + part + align - 1) / align * align;
		if (whole != part) {
			memset(bounce, 0, whole);
			ret = pread_all(file->direct_fd, offset - head, bounce,
					whole, head + part);
		}
		if (ret == 0) {
			memcpy(bounce + head, buf, part);
			ret = pwrite_all(file->direct_fd, offset - head, bounce,
					 whole);
		}
		offset += part;
		buf += part;
		len -= part;
	}
	give_bounce(file, bounce);
	return ret;
}

static int file_write_medium(struct udf_blockdev *dev, uint64_t offset,
			     const void *buf, size_t len)
{
	struct file_dev *file = file_dev(dev);
	uint64_t last = (offset + len + file->direct_align - 1) /
			file->direct_align * file->direct_align;
	int ret = 0;

	if (file->direct_fd < 0 || last > dev->size) {
		/* The second: a whole sector would make the file longer. */
		ret = file_write(dev, offset, buf, len);
		if (ret != 0) {
			return ret;
		}
		return file_flush(dev);
	}
	if (offset % PAGE_BYTES == 0 && len % PAGE_BYTES == 0) {
		pthread_rwlock_rdlock(&file->direct_lock);
	} else {
		pthread_rwlock_wrlock(&file->direct_lock);
	}
	if (is_aligned(buf, offset, len, file->direct_align)) {
		ret = pwrite_all(file->direct_fd, offset, buf, len);
	} else {
		ret = bounced_write(file, offset, buf, len);
	}
	pthread_rwlock_unlock(&file->direct_lock);
	return ret;
}

static void file_close(struct udf_blockdev *dev)
{
	struct file_dev *file = file_dev(dev);

	if (file->direct_fd >= 0) {
		close(file->direct_fd);
	}
	if (file->fd >= 0) {
		close(file->fd);
	}
	while (file->bounces > 0) {
		file->bounces--;
		free(file->bounce[file->bounces]);
	}
	pthread_mutex_destroy(&file->bounce_lock);
	pthread_rwlock_destroy(&file->direct_lock);
	free(file);
}

static const struct udf_blockdev_ops file_ops = {
	.read = file_read,
	.write = file_write,
	.flush = file_flush,
	.read_medium = file_read_medium,
	.write_medium = file_write_medium,
	.close = file_close,
};

/*
 * Open the second descriptor and find out its alignment by trying; without
 * it, direct_fd stays -1. The path could name another file by now: the first
 * descriptor's own link in /proc cannot.
 */
static void open_direct(struct file_dev *file, bool read_only)
{
	char link[64] = {0};
	uint8_t *probe = NULL;
	int flags = (read_only ? O_RDONLY : O_RDWR) | O_DIRECT | O_CLOEXEC;
	ssize_t n = 0;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", file->fd);
	file->direct_fd = open(link, flags);
	if (file->direct_fd < 0) {
		return;
	}
	probe = udf_blockdev_alloc(DIRECT_ALIGN_MAX);
	if (probe == NULL) {
		goto refused;
	}
	n = pread(file->direct_fd, probe, DIRECT_ALIGN_MIN, DIRECT_ALIGN_MIN);
	if (n == DIRECT_ALIGN_MIN) {
		file->direct_align = DIRECT_ALIGN_MIN;
	} else {
		n = pread(file->direct_fd, probe, DIRECT_ALIGN_MAX, 0);
		if (n < 0 && errno == EINVAL) {
			goto refused;
		}
	}
	free(probe);
	return;

refused:
	free(probe);
	close(file->direct_fd);
	file->direct_fd = -1;
}

/*
 * umount(8) returns before the udfd that it ends has closed the volume, and
 * systemd starts the next one at once.
 */
static int lock_for_writing(int fd)
{
	struct flock lock = {
		.l_type = F_WRLCK,
		.l_whence = SEEK_SET,
	};
	const struct timespec pause = { .tv_nsec = LOCK_PAUSE_NS };
	unsigned int tries = LOCK_TRIES;

	while (fcntl(fd, F_OFD_SETLK, &lock) != 0) {
		if (errno != EAGAIN && errno != EACCES) {
			return -errno;
		}
		tries--;
		if (tries == 0) {
			return -EBUSY;
		}
		nanosleep(&pause, NULL);
	}
	return 0;
}

bool udf_blockdev_is_in_use(const char *path)
{
	const struct timespec pause = { .tv_nsec = LOCK_PAUSE_NS };
	unsigned int tries = LOCK_TRIES;
	bool in_use = true;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		return false;
	}
	while (in_use) {
		struct flock lock = {
			.l_type = F_RDLCK,
			.l_whence = SEEK_SET,
		};

		in_use = fcntl(fd, F_OFD_GETLK, &lock) == 0 &&
			 lock.l_type != F_UNLCK;
		tries--;
		if (tries == 0) {
			break;
		}
		if (in_use) {
			nanosleep(&pause, NULL);
		}
	}
	close(fd);
	return in_use;
}

/* An open for writing that the file or its file system does not allow. */
static int error_of_open(int error, bool read_only)
{
	if (read_only) {
		return -error;
	}
	switch (error) {
	case EACCES:
	case EPERM:
	case EROFS:
	case ETXTBSY:
		return -EROFS;
	default:
		return -error;
	}
}

static int open_fd(const char *path, bool read_only, int *fd, struct stat *st)
{
	int flags = (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC;
	int ret = 0;

	if (stat(path, st) != 0) {
		return -errno;
	}
	if (S_ISBLK(st->st_mode)) {
		/* Refused while it is mounted or held by another. */
		flags |= read_only ? 0 : O_EXCL;
	} else if (!S_ISREG(st->st_mode)) {
		return -EMEDIUMTYPE;
	}
	*fd = open(path, flags);
	if (*fd < 0) {
		return error_of_open(errno, read_only);
	}
	if (fstat(*fd, st) != 0) {
		ret = -errno;
	} else if (!S_ISBLK(st->st_mode) && !S_ISREG(st->st_mode)) {
		ret = -EMEDIUMTYPE;
	} else if (!read_only) {
		ret = lock_for_writing(*fd);
	}
	if (ret != 0) {
		close(*fd);
		*fd = -1;
	}
	return ret;
}

int udf_blockdev_open(const char *path, bool read_only,
		      struct udf_blockdev **dev)
{
	struct file_dev *file = NULL;
	struct stat st = {0};
	int ret = 0;

	file = calloc(1, sizeof(*file));
	if (file == NULL) {
		return -ENOMEM;
	}
	file->dev.ops = &file_ops;
	file->dev.read_only = read_only;
	file->fd = -1;
	file->direct_fd = -1;
	file->direct_align = DIRECT_ALIGN_MAX;
	pthread_rwlock_init(&file->direct_lock, NULL);
	pthread_mutex_init(&file->bounce_lock, NULL);

	ret = open_fd(path, read_only, &file->fd, &st);
	if (ret != 0) {
		goto failed;
	}
	file->dev.size = (uint64_t)st.st_size;
	if (S_ISBLK(st.st_mode) &&
	    ioctl(file->fd, BLKGETSIZE64, &file->dev.size) != 0) {
		ret = -errno;
		goto failed;
	}
	open_direct(file, read_only);
	file->dev.uncached = file->direct_fd >= 0;
	*dev = &file->dev;
	return 0;

failed:
	file_close(&file->dev);
	return ret;
}

void udf_blockdev_close(struct udf_blockdev *dev)
{
	if (dev != NULL) {
		dev->ops->close(dev);
	}
}

static bool in_range(const struct udf_blockdev *dev, uint64_t offset,
		     size_t len)
{
	return offset <= dev->size && len <= dev->size - offset;
}

int udf_blockdev_read(struct udf_blockdev *dev, uint64_t offset, void *buf,
		      size_t len)
{
	if (!in_range(dev, offset, len)) {
		return -EINVAL;
	}
	return dev->ops->read(dev, offset, buf, len);
}

int udf_blockdev_write(struct udf_blockdev *dev, uint64_t offset,
		       const void *buf, size_t len)
{
	if (!in_range(dev, offset, len)) {
		return -EINVAL;
	}
	if (dev->read_only) {
		return -EROFS;
	}
	return dev->ops->write(dev, offset, buf, len);
}

int udf_blockdev_flush(struct udf_blockdev *dev)
{
	if (dev->read_only) {
		return 0;
	}
	return dev->ops->flush(dev);
}

int udf_blockdev_read_medium(struct udf_blockdev *dev, uint64_t offset,
			     void *buf, size_t len)
{
	if (!in_range(dev, offset, len)) {
		return -EINVAL;
	}
	return dev->ops->read_medium(dev, offset, buf, len);
}

int udf_blockdev_write_medium(struct udf_blockdev *dev, uint64_t offset,
			      const void *buf, size_t len)
{
	if (!in_range(dev, offset, len)) {
		return -EINVAL;
	}
	if (dev->read_only) {
		return -EROFS;
	}
	return dev->ops->write_medium(dev, offset, buf, len);
}

int udf_blockdev_write_large(struct udf_blockdev *dev, uint64_t offset,
			     const void *buf, size_t len)
{
	const uint8_t *p = buf;
	size_t head = (size_t)(-offset % PAGE_BYTES);
	size_t middle = 0;
	size_t tail = 0;
	int error = 0;
	int ret = 0;

	if (!dev->uncached || len < WRITE_OUT_BYTES) {
		return udf_blockdev_write(dev, offset, buf, len);
	}
	middle = (len - head) / PAGE_BYTES * PAGE_BYTES;
	tail = len - head - middle;
	if (head > 0) {
		error = udf_blockdev_write(dev, offset, p, head);
	}
	ret = udf_blockdev_write_medium(dev, offset + head, p + head, middle);
	error = error != 0 ? error : ret;
	if (tail > 0) {
		ret = udf_blockdev_write(dev, offset + head + middle,
					 p + head + middle, tail);
		error = error != 0 ? error : ret;
	}
	return error;
}

bool udf_blockdev_is_medium_error(int error)
{
	switch (-error) {
	case EIO:
	case ENODATA:	/* the block layer's "critical medium error" */
	case EREMOTEIO: /* "critical target error" */
	case EILSEQ:	/* a protection check failed */
	case ETIMEDOUT:
		return true;
	default:
		return false;
	}
}
