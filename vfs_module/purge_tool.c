/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * udfctl-purge, which "udfctl purge" runs: brackets a scan on this server, so
 * that nothing that comes over SMB changes the files under it.
 *
 * A program of its own, since udfctl knows nothing of Samba. It is linked with
 * the libraries of the Samba that the module was built for.
 */
#include "local_scan.h"
#include "purge_status.h"
#include "messages.h"
#include "serverid.h"
#include "system/filesys.h"
#include "system/wait.h"
#include "util_procid.h"
#include <getopt.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define EXIT_CANNOT 1
#define EXIT_USAGE 2

/* Of "run", as env(1), timeout(1) and the like have it. */
#define EXIT_RUN_CANNOT 125
#define EXIT_RUN_CANNOT_EXEC 126
#define EXIT_RUN_NOT_FOUND 127

/* A background process looks whether it still counts anything. */
#define LOOK_AGAIN SIGUSR1

struct arguments {
	const char *config_file;
	bool recursive;
	bool count_only;
	bool json;
	bool all;
	unsigned seconds; /* 0: no limit */
	const char **skip; /* as in purge_status_options */
	size_t num_skip;
	char **rest;	  /* NULL-terminated */
	int num_rest;
};

/* ------------------------------------------------------------------- run */

/* The command that runs inside the bracket. */
struct command {
	pid_t pid;
	int go; /* a byte written here lets it begin; closed, it ends */
	bool ended;
	int status; /* of waitpid() */
};

/*
 * Before anything of Samba is set up, so that the command inherits nothing of
 * it: it waits until the files are counted.
 */
static bool command_fork(struct command *command, char **argv)
{
	int fds[2] = { -1, -1 };
	ssize_t n = -1;
	char byte = 0;

	if (pipe2(fds, O_CLOEXEC) == -1) {
		perror(LOCAL_SCAN_NAME ": pipe");
		return false;
	}
	command->pid = fork();
	if (command->pid == -1) {
		perror(LOCAL_SCAN_NAME ": fork");
		close(fds[0]);
		close(fds[1]);
		return false;
	}
	if (command->pid != 0) {
		close(fds[0]);
		command->go = fds[1];
		return true;
	}

	/* Without the bracket its result would mean nothing. */
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	close(fds[1]);
	do {
		n = read(fds[0], &byte, 1);
	} while (n == -1 && errno == EINTR);
	if (n != 1) {
		_exit(EXIT_RUN_CANNOT);
	}
	execvp(argv[0], argv);
	fprintf(stderr,
		"%s: %s: %s\n",
		LOCAL_SCAN_NAME,
		argv[0],
		strerror(errno));
	_exit(errno == ENOENT ? EXIT_RUN_NOT_FOUND : EXIT_RUN_CANNOT_EXEC);
}

static void command_look(struct command *command)
{
	pid_t pid = waitpid(command->pid, &command->status, WNOHANG);

	if (pid == command->pid) {
		command->ended = true;
	}
}

static void command_signalled(struct tevent_context *ev,
			      struct tevent_signal *se,
			      int signum,
			      int count,
			      void *siginfo,
			      void *private_data)
{
	struct command *command = private_data;
	const siginfo_t *info = siginfo;

	if (signum == SIGCHLD) {
		command_look(command);
		return;
	}
	/* What comes from the terminal the command has got as well. */
	if (!command->ended && info->si_code != SI_KERNEL) {
		kill(command->pid, signum);
	}
}

static bool command_watch(struct command *command, struct local_scan *scan)
{
	static const int signals[] = { SIGCHLD, SIGINT, SIGTERM, SIGHUP,
				       SIGQUIT };
	struct tevent_signal *se = NULL;
	size_t i = 0;

	for (i = 0; i < ARRAY_SIZE(signals); i++) {
		se = tevent_add_signal(local_scan_events(scan),
				       scan,
				       signals[i],
				       SA_SIGINFO,
				       command_signalled,
				       command);
		if (se == NULL) {
			fprintf(stderr, "%s: no memory\n", LOCAL_SCAN_NAME);
			return false;
		}
	}
	/* It may have been killed before there was anybody to be told. */
	command_look(command);
	return true;
}

static bool count_for_run(const struct local_scan_name *name,
			  void *private_data)
{
	struct local_scan *scan = private_data;

	return local_scan_count(scan, name, OPEN_STATE_LOCAL, true);
}

static bool count_only_for_run(const struct local_scan_name *name,
			       void *private_data)
{
	struct local_scan *scan = private_data;

	return local_scan_count(scan, name, OPEN_STATE_LOCAL, false);
}

/* The exit status, as a shell tells it. */
static int command_result(const struct command *command)
{
	if (WIFEXITED(command->status)) {
		return WEXITSTATUS(command->status);
	}
	if (!WIFSIGNALED(command->status)) {
		return EXIT_RUN_CANNOT;
	}
	return 128 + WTERMSIG(command->status);
}

/*
 * COMMAND FILE..., or COMMAND ARGUMENT... -- FILE...: make both lists of it.
 * The command gets the files as its last arguments.
 */
static bool split_run(struct arguments *args, char ***_argv, char ***_files)
{
	char **argv = NULL;
	char **files = NULL;
	int separator = 0;
	int n = 0;
	int i = 0;

	for (i = 1; i < args->num_rest && separator == 0; i++) {
		if (strcmp(args->rest[i], "--") == 0) {
			separator = i;
		}
	}
	files = args->rest + ((separator == 0) ? 1 : separator + 1);
	if (args->num_rest == 0 || files[0] == NULL) {
		fprintf(stderr,
			"%s: run takes COMMAND FILE..., or COMMAND "
			"ARGUMENT... -- FILE...\n",
			LOCAL_SCAN_NAME);
		return false;
	}
	if (separator == 0 && files[0][0] == '-') {
		fprintf(stderr,
			"%s: %s is no file: put -- between the command's "
			"arguments and the files\n",
			LOCAL_SCAN_NAME,
			files[0]);
		return false;
	}

	argv = talloc_zero_array(NULL, char *, args->num_rest + 1);
	if (argv == NULL) {
		fprintf(stderr, "%s: no memory\n", LOCAL_SCAN_NAME);
		return false;
	}
	for (i = 0; i < args->num_rest; i++) {
		if (separator == 0 || i != separator) {
			argv[n] = args->rest[i];
			n += 1;
		}
	}
	*_argv = argv;
	*_files = files;
	return true;
}

static int do_run(struct arguments *args)
{
	struct command command = { .pid = -1, .go = -1 };
	struct local_scan *scan = NULL;
	char **argv = NULL;
	char **files = NULL;
	int result = EXIT_RUN_CANNOT;
	bool ok = false;

	ok = split_run(args, &argv, &files);
	if (!ok) {
		return EXIT_USAGE;
	}
	ok = command_fork(&command, argv);
	if (!ok) {
		goto done;
	}
	/* It may be killed before it is told to begin. */
	signal(SIGPIPE, SIG_IGN);

	scan = local_scan_init(NULL, args->config_file);
	if (scan == NULL) {
		goto abandon;
	}
	ok = local_scan_for_files(files,
				  args->recursive,
				  args->count_only ? count_only_for_run
						   : count_for_run,
				  scan);
	if (!ok) {
		goto abandon;
	}
	ok = command_watch(&command, scan);
	if (!ok) {
		goto abandon;
	}

	if (write(command.go, "g", 1) != 1 && !command.ended) {
		perror(LOCAL_SCAN_NAME ": the command does not begin");
		goto abandon;
	}
	close(command.go);
	while (!command.ended) {
		if (tevent_loop_once(local_scan_events(scan)) == -1) {
			perror(LOCAL_SCAN_NAME ": waiting");
			kill(command.pid, SIGTERM);
			goto done;
		}
	}

	result = command_result(&command);
	ok = local_scan_release(scan);
	if (!ok) {
		result = EXIT_RUN_CANNOT;
	}
	goto done;

abandon:
	close(command.go);
	if (!command.ended) {
		waitpid(command.pid, NULL, 0);
	}
done:
	TALLOC_FREE(scan);
	TALLOC_FREE(argv);
	return result;
}

/* ---------------------------------------------------- enable and disable */

struct background {
	struct local_scan *scan;
	bool end;
};

static void background_signalled(struct tevent_context *ev,
				 struct tevent_signal *se,
				 int signum,
				 int count,
				 void *siginfo,
				 void *private_data)
{
	struct background *background = private_data;

	if (signum == LOOK_AGAIN &&
	    local_scan_counted(background->scan) > 0)
	{
		return;
	}
	background->end = true;
}

static void background_time_up(struct tevent_context *ev,
			       struct tevent_timer *te,
			       struct timeval now,
			       void *private_data)
{
	struct background *background = private_data;

	background->end = true;
}

static bool background_watch(struct background *background, unsigned seconds)
{
	static const int signals[] = { LOOK_AGAIN, SIGTERM, SIGINT, SIGHUP };
	struct tevent_context *ev = local_scan_events(background->scan);
	struct tevent_signal *se = NULL;
	struct tevent_timer *te = NULL;
	size_t i = 0;

	for (i = 0; i < ARRAY_SIZE(signals); i++) {
		se = tevent_add_signal(ev,
				       background->scan,
				       signals[i],
				       0,
				       background_signalled,
				       background);
		if (se == NULL) {
			return false;
		}
	}
	if (seconds == 0) {
		return true;
	}
	te = tevent_add_timer(ev,
			      background->scan,
			      timeval_current_ofs(seconds, 0),
			      background_time_up,
			      background);
	return te != NULL;
}

static bool count_in_background(const struct local_scan_name *name,
				void *private_data)
{
	struct background *background = private_data;

	return local_scan_count(background->scan,
				name,
				OPEN_STATE_LOCAL_BACKGROUND,
				true);
}

static bool count_only_in_background(const struct local_scan_name *name,
				     void *private_data)
{
	struct background *background = private_data;

	return local_scan_count(background->scan,
				name,
				OPEN_STATE_LOCAL_BACKGROUND,
				false);
}

/* Leave what belongs to whoever called us. */
static bool detach(void)
{
	int fd = open("/dev/null", O_RDWR);

	if (fd == -1 || chdir("/") == -1) {
		return false;
	}
	if (dup2(fd, 0) == -1 || dup2(fd, 1) == -1 || dup2(fd, 2) == -1) {
		return false;
	}
	if (fd > 2) {
		close(fd);
	}
	return true;
}

/*
 * The process that owns the counts of one "enable". It says through the pipe
 * that the files are counted; if nobody is there to hear it, it gives up.
 */
static int background_main(struct arguments *args, int told)
{
	struct background background = { .scan = NULL };
	int result = EXIT_CANNOT;
	bool ok = false;

	signal(SIGPIPE, SIG_IGN);
	(void)setsid();

	background.scan = local_scan_init(NULL, args->config_file);
	if (background.scan == NULL) {
		return EXIT_CANNOT;
	}
	ok = background_watch(&background, args->seconds);
	if (!ok) {
		fprintf(stderr, "%s: no memory\n", LOCAL_SCAN_NAME);
		goto done;
	}
	ok = local_scan_for_files(args->rest,
				  args->recursive,
				  args->count_only ? count_only_in_background
						   : count_in_background,
				  &background);
	if (!ok) {
		goto release;
	}
	ok = detach();
	if (!ok) {
		perror(LOCAL_SCAN_NAME ": cannot leave the terminal");
		goto release;
	}
	if (write(told, "c", 1) != 1) {
		goto release;
	}
	close(told);

	while (!background.end) {
		if (tevent_loop_once(local_scan_events(background.scan)) == -1)
		{
			goto release;
		}
	}
	result = 0;

release:
	ok = local_scan_release(background.scan);
	if (!ok) {
		result = EXIT_CANNOT;
	}
done:
	TALLOC_FREE(background.scan);
	return result;
}

static int do_enable(struct arguments *args)
{
	int fds[2] = { -1, -1 };
	pid_t pid = -1;
	ssize_t n = -1;
	char byte = 0;

	if (pipe2(fds, O_CLOEXEC) == -1) {
		perror(LOCAL_SCAN_NAME ": pipe");
		return EXIT_CANNOT;
	}
	pid = fork();
	if (pid == -1) {
		perror(LOCAL_SCAN_NAME ": fork");
		return EXIT_CANNOT;
	}
	if (pid == 0) {
		close(fds[0]);
		_exit(background_main(args, fds[1]));
	}

	close(fds[1]);
	do {
		n = read(fds[0], &byte, 1);
	} while (n == -1 && errno == EINTR);
	close(fds[0]);
	return (n == 1) ? 0 : EXIT_CANNOT;
}

/* What the background processes of this node count. */
struct disable_state {
	struct local_scan *scan;
	struct open_state_entry *entries;
	size_t num_entries;
	bool no_memory;
};

static bool collect_background(const struct open_state_entry *entry,
			       void *private_data)
{
	struct disable_state *d = private_data;
	struct open_state_entry *entries = NULL;

	if (entry->owner.kind != OPEN_STATE_LOCAL_BACKGROUND ||
	    entry->purge_count == 0 ||
	    !procid_is_local(&entry->owner.server_id))
	{
		return true;
	}
	entries = talloc_realloc(d->scan,
				 d->entries,
				 struct open_state_entry,
				 d->num_entries + 1);
	if (entries == NULL) {
		d->no_memory = true;
		return false;
	}
	entries[d->num_entries] = *entry;
	d->entries = entries;
	d->num_entries += 1;
	return true;
}

/* Have the owner end if it counts nothing any more. */
static void wake_owner(const struct server_id *id)
{
	int fd = (int)syscall(SYS_pidfd_open, (pid_t)id->pid, 0);

	if (fd == -1) {
		return;
	}
	/* Is the process that we have hold of now the one that counted? */
	if (serverid_exists(id)) {
		(void)syscall(SYS_pidfd_send_signal, fd, LOOK_AGAIN, NULL, 0);
	}
	close(fd);
}

static bool take_back(struct disable_state *d, struct open_state_entry *entry)
{
	NTSTATUS status;

	status = open_state_release(local_scan_state(d->scan),
				    &entry->key,
				    entry->owner.persistent_id);
	if (!NT_STATUS_IS_OK(status)) {
		fprintf(stderr,
			"%s: a count could not be taken back: %s\n",
			LOCAL_SCAN_NAME,
			nt_errstr(status));
		return false;
	}
	entry->purge_count = 0;
	wake_owner(&entry->owner.server_id);
	return true;
}

/* One "enable" of the file, the last. */
static bool disable_file(const struct local_scan_name *name,
			 void *private_data)
{
	struct disable_state *d = private_data;
	struct open_state_entry *last = NULL;
	struct udf_file_key key;
	NTSTATUS status;
	size_t i = 0;

	status = local_scan_key(name, &key, NULL);
	if (NT_STATUS_EQUAL(status, NT_STATUS_OBJECT_NAME_NOT_FOUND)) {
		return true;
	}
	if (!NT_STATUS_IS_OK(status)) {
		return false;
	}
	for (i = 0; i < d->num_entries; i++) {
		struct open_state_entry *e = &d->entries[i];

		if (e->purge_count == 0 ||
		    memcmp(&e->key, &key, sizeof(key)) != 0)
		{
			continue;
		}
		if (last == NULL || timespec_compare(&e->counted_since,
						     &last->counted_since) > 0)
		{
			last = e;
		}
	}
	if (last == NULL) {
		fprintf(stderr, "%s: ", LOCAL_SCAN_NAME);
		local_scan_print_path(stderr, name->path);
		fprintf(stderr,
			": no 'enable' on this machine counts it; see udfctl "
			"purge status\n");
		return false;
	}
	return take_back(d, last);
}

static bool disable_all(struct disable_state *d)
{
	size_t i = 0;
	bool ok = true;

	for (i = 0; i < d->num_entries && ok; i++) {
		ok = take_back(d, &d->entries[i]);
	}
	return ok;
}

static int do_disable(struct arguments *args)
{
	struct disable_state d = { .scan = NULL };
	NTSTATUS status;
	bool ok = false;

	d.scan = local_scan_init(NULL, args->config_file);
	if (d.scan == NULL) {
		return EXIT_CANNOT;
	}
	status = open_state_for_each(local_scan_state(d.scan),
				     collect_background,
				     &d);
	if (!NT_STATUS_IS_OK(status)) {
		fprintf(stderr,
			"%s: cannot read the database: %s\n",
			LOCAL_SCAN_NAME,
			nt_errstr(status));
	} else if (d.no_memory) {
		fprintf(stderr, "%s: no memory\n", LOCAL_SCAN_NAME);
	} else if (args->all) {
		ok = disable_all(&d);
	} else {
		ok = local_scan_for_files(args->rest,
					  args->recursive,
					  disable_file,
					  &d);
	}
	TALLOC_FREE(d.scan);
	return ok ? 0 : EXIT_CANNOT;
}

/* ---------------------------------------------------------------- status */

static int do_status(struct arguments *args)
{
	const struct purge_status_options options = {
		.paths = (args->num_rest == 0) ? NULL : args->rest,
		.all = args->all,
		.json = args->json,
		.skip = args->skip,
	};
	struct local_scan *scan = NULL;
	bool ok = false;

	scan = local_scan_init(NULL, args->config_file);
	if (scan == NULL) {
		return EXIT_CANNOT;
	}
	ok = purge_status_print(scan, &options);
	TALLOC_FREE(scan);
	return ok ? 0 : EXIT_CANNOT;
}

/* ------------------------------------------------------ the command line */

static void usage(FILE *f)
{
	fprintf(f,
		"usage: udfctl purge run [OPTION...] COMMAND FILE...\n"
		"       udfctl purge run [OPTION...] COMMAND ARGUMENT... "
		"-- FILE...\n"
		"       udfctl purge enable [OPTION...] FILE...\n"
		"       udfctl purge disable [OPTION...] FILE... | --all\n"
		"       udfctl purge status [OPTION...] [FILE...]\n"
		"\n"
		"Hold what SMB clients would change in files of a UDF volume "
		"while a program on\nthis server scans them.\n"
		"\n"
		"  run      until COMMAND, which gets the files as its last "
		"arguments, has ended;\n"
		"           the exit status is COMMAND's\n"
		"  enable   until 'disable'\n"
		"  disable  take one 'enable' of each file back\n"
		"  status   who counts what, SMB clients too\n"
		"\n"
		"  -r, --recursive        a directory means the files below "
		"it\n"
		"      --count-only       hold writers only where a process "
		"has the file mapped\n"
		"      --for SECONDS      enable: for so long at most\n"
		"      --all              disable: all that 'enable' "
		"counted;\n"
		"                         status: opens that count nothing, "
		"too\n"
		"      --json             status: print JSON\n"
		"      --skip DIRECTORY   status: do not touch what is below "
		"it; its file system\n"
		"                         does not answer\n"
		"  -s, --configfile FILE  smbd's configuration file\n"
		"      --help             print this\n"
		"      --version\n");
}

enum option_value {
	OPTION_COUNT_ONLY = 0x100,
	OPTION_FOR,
	OPTION_ALL,
	OPTION_JSON,
	OPTION_SKIP,
	OPTION_HELP,
	OPTION_VERSION,
};

static const struct option long_options[] = {
	{ "configfile", required_argument, NULL, 's' },
	{ "recursive", no_argument, NULL, 'r' },
	{ "count-only", no_argument, NULL, OPTION_COUNT_ONLY },
	{ "for", required_argument, NULL, OPTION_FOR },
	{ "all", no_argument, NULL, OPTION_ALL },
	{ "json", no_argument, NULL, OPTION_JSON },
	{ "skip", required_argument, NULL, OPTION_SKIP },
	{ "help", no_argument, NULL, OPTION_HELP },
	{ "version", no_argument, NULL, OPTION_VERSION },
	{ NULL, 0, NULL, 0 },
};

struct subcommand {
	const char *name;
	int (*fn)(struct arguments *args);
	/* Options it has. */
	bool recursive, count_only, seconds, all, json, skip;
};

static const struct subcommand subcommands[] = {
	{ .name = "run",
	  .fn = do_run,
	  .recursive = true,
	  .count_only = true },
	{ .name = "enable",
	  .fn = do_enable,
	  .recursive = true,
	  .count_only = true,
	  .seconds = true },
	{ .name = "disable", .fn = do_disable, .recursive = true, .all = true },
	{ .name = "status",
	  .fn = do_status,
	  .all = true,
	  .json = true,
	  .skip = true },
};

static const struct subcommand *find_subcommand(const char *name)
{
	size_t i = 0;

	for (i = 0; i < ARRAY_SIZE(subcommands); i++) {
		if (strcmp(subcommands[i].name, name) == 0) {
			return &subcommands[i];
		}
	}
	return NULL;
}

static bool parse_seconds(const char *text, unsigned *seconds)
{
	char *end = NULL;
	unsigned long value = 0;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || text[0] == '-' ||
	    value == 0 || value > INT32_MAX)
	{
		fprintf(stderr,
			"%s: --for wants a number of seconds, not '%s'\n",
			LOCAL_SCAN_NAME,
			text);
		return false;
	}
	*seconds = value;
	return true;
}

static bool add_skip(struct arguments *args, const char *directory)
{
	const char **skip = NULL;

	skip = talloc_realloc(NULL,
			      args->skip,
			      const char *,
			      args->num_skip + 2);
	if (skip == NULL) {
		fprintf(stderr, "%s: no memory\n", LOCAL_SCAN_NAME);
		return false;
	}
	skip[args->num_skip] = directory;
	skip[args->num_skip + 1] = NULL;
	args->skip = skip;
	args->num_skip += 1;
	return true;
}

/* 0: go on; else the program ends, with *result. */
static int parse_options(int argc,
			 char **argv,
			 const struct subcommand *sub,
			 struct arguments *args,
			 int *result)
{
	bool fits = true;
	int c = 0;

	*result = 0;
	while ((c = getopt_long(argc, argv, "+rs:", long_options, NULL)) != -1)
	{
		switch (c) {
		case 's':
			args->config_file = optarg;
			break;
		case 'r':
			args->recursive = true;
			fits = sub->recursive;
			break;
		case OPTION_COUNT_ONLY:
			args->count_only = true;
			fits = sub->count_only;
			break;
		case OPTION_FOR:
			fits = sub->seconds &&
			       parse_seconds(optarg, &args->seconds);
			break;
		case OPTION_ALL:
			args->all = true;
			fits = sub->all;
			break;
		case OPTION_JSON:
			args->json = true;
			fits = sub->json;
			break;
		case OPTION_SKIP:
			fits = sub->skip && add_skip(args, optarg);
			break;
		case OPTION_HELP:
			usage(stdout);
			return 1;
		default:
			fits = false;
			break;
		}
		if (!fits) {
			fprintf(stderr,
				"Try udfctl purge --help.\n");
			*result = EXIT_USAGE;
			return 1;
		}
	}
	args->rest = argv + optind;
	args->num_rest = argc - optind;
	return 0;
}

int main(int argc, char **argv)
{
	const struct subcommand *sub = NULL;
	struct arguments args = { .config_file = NULL };
	TALLOC_CTX *frame = NULL;
	bool wants_files = false;
	int result = 0;

	if (argc < 2) {
		usage(stderr);
		return EXIT_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0) {
		usage(stdout);
		return 0;
	}
	if (strcmp(argv[1], "--version") == 0) {
		printf("udfctl-purge %s, for Samba %s\n",
		       UDF_VERSION,
		       samba_version_string());
		return 0;
	}
	sub = find_subcommand(argv[1]);
	if (sub == NULL) {
		fprintf(stderr,
			"%s: there is no command '%s'; there are run, enable, "
			"disable and status\n",
			LOCAL_SCAN_NAME,
			argv[1]);
		return EXIT_USAGE;
	}

	/* As one word, for what getopt_long() says. */
	argv[1] = discard_const_p(char, LOCAL_SCAN_NAME);
	if (parse_options(argc - 1, argv + 1, sub, &args, &result) != 0) {
		return result;
	}

	wants_files = !args.all && sub->fn != do_status && sub->fn != do_run;
	if (wants_files && args.num_rest == 0) {
		fprintf(stderr,
			"%s: %s wants a FILE\n",
			LOCAL_SCAN_NAME,
			sub->name);
		return EXIT_USAGE;
	}
	if (args.all && args.num_rest != 0 && sub->fn == do_disable) {
		fprintf(stderr,
			"%s: either --all or files\n",
			LOCAL_SCAN_NAME);
		return EXIT_USAGE;
	}

	/* Samba's libraries want one. */
	frame = talloc_stackframe();
	result = sub->fn(&args);
	TALLOC_FREE(args.skip);
	TALLOC_FREE(frame);
	return result;
}
