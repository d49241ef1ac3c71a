/*
 * user.h -- becoming master.user: for whoever starts the daemon as root.
 *
 * It is done before anything is opened or made but the configuration, and there is no way
 * back. So nothing of ours is root's: a reload reads its files as that user, too, and
 * http.listen below port 1024 needs net.ipv4.ip_unprivileged_port_start or a service manager.
 * Proof: tests/e2e/test_user.py.
 */
#ifndef PEERSCOPE_MASTER_USER_H
#define PEERSCOPE_MASTER_USER_H

#include "common/err.h"

/*
 * 0: we are `name` now, with its groups and no others; or name is "", or who we were. -1: there
 * is no such user, or it is not ours to become. dir: made for that user if it is not there; ""
 * for none.
 */
PS_MUST int user_become(const char *name, const char *dir, char err[ERRLEN]);

#endif
