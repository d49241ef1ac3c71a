/* user.c -- see user.h. */
#include "master/user.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* One that is there already is not given away; where none can be made, own_dir has another,
 * or says why. */
static int user_dir(const char *dir, const struct passwd *pw, char err[ERRLEN])
{
	if (!dir[0] || mkdir(dir, 0700) != 0)
		return 0;
	if (lchown(dir, pw->pw_uid, pw->pw_gid) != 0)
		return err_errno(err, "%s for user %s", dir, pw->pw_name);
	return 0;
}

int user_become(const char *name, const char *dir, char err[ERRLEN])
{
	struct passwd *pw;

	if (!name[0])
		return 0;
	errno = 0;
	pw = getpwnam(name);
	if (!pw && errno && errno != ENOENT)
		return err_errno(err, "looking for user %s", name);
	if (!pw)
		return err_set(err, "there is no user %s", name);
	if (pw->pw_uid == geteuid())
		return 0;
	if (geteuid() != 0)
		return err_set(err, "only root can become %s; we are uid %u", name,
			       (unsigned)geteuid());
	if (user_dir(dir, pw, err) != 0)
		return -1;
	if (initgroups(pw->pw_name, pw->pw_gid) != 0 ||
	    setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) != 0 ||
	    setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) != 0)
		return err_errno(err, "becoming user %s", name);
	PS_ASSERT(pw->pw_uid == 0 || setuid(0) != 0);
	/* Else /proc/self is root's, and its descriptors can't be counted. */
	if (prctl(PR_SET_DUMPABLE, 1) != 0)
		return err_errno(err, "PR_SET_DUMPABLE");
	return 0;
}
