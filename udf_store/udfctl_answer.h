/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Questions that may never be answered: a file system in user space whose
 * process is stopped, or waits for a disk that does not come back, keeps
 * whoever asks it waiting, and then no signal ends that process. So a child
 * asks, and its parent goes on without it when the time is up.
 */
#ifndef UDF_STORE_UDFCTL_ANSWER_H
#define UDF_STORE_UDFCTL_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

/* The exit status when a mounted volume does not answer. */
#define UDFCTL_EXIT_NO_ANSWER 5

/* Seconds that an answer may take; udfctl --timeout. */
void udfctl_set_timeout(unsigned seconds);
unsigned udfctl_timeout(void);

/* The time when that is over, if it begins now. */
struct timespec udfctl_deadline(void);

struct udfctl_question;

/*
 * It runs in the child and fills in the reply, which is zero before. 0 or a
 * negative errno; or it executes a program. What it prints is kept.
 */
typedef int (*udfctl_ask_fn)(const void *asked, void *reply);

/*
 * Put a question. name: whom it is put to; while an earlier child cannot be
 * ended, that is not asked again. 0, or a negative errno if nothing was asked.
 */
int udfctl_ask(const char *name, udfctl_ask_fn fn, const void *asked,
	       size_t reply_len, struct udfctl_question **question);

/*
 * Wait until it is answered; what the child wrote to stderr is written there
 * then. What fn returned; -ETIMEDOUT; -EIO, the child was killed, or its exit
 * status was not 0.
 */
int udfctl_answer(struct udfctl_question *question,
		  const struct timespec *deadline);

/* The reply, until the question is freed. */
void *udfctl_reply(struct udfctl_question *question);

/*
 * What the child printed, ended by a NUL, to be freed; NULL if there is no
 * memory for it.
 */
char *udfctl_printed(struct udfctl_question *question);

/* An unanswered one's child is killed. NULL is allowed. */
void udfctl_question_free(struct udfctl_question *question);

/*
 * In a child: ask the file system that path is on for something, as the
 * functions that may wait for ever will. 0, -ENOTCONN (its udfd has ended);
 * 0 also if there is no such path.
 */
int udfctl_knock(const char *path);

/*
 * Does it answer? If not, false, and a line on stderr says what to do.
 */
bool udfctl_answers(const char *path);

/* That line. ret: -ETIMEDOUT or -ENOTCONN. */
void udfctl_print_no_answer(const char *path, int ret);

/* The exit status for an error that was printed, a negative errno. */
int udfctl_exit_status(int ret);

#endif /* UDF_STORE_UDFCTL_ANSWER_H */
