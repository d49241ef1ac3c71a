/* upgrade_int.h -- what both sides of an upgrade share: upgrade.c and upgrade_take.c. */
#ifndef PEERSCOPE_MASTER_UPGRADE_INT_H
#define PEERSCOPE_MASTER_UPGRADE_INT_H

#include "master/upgrade.h"

void upgrade_close(int *fd);
/* Execute the file behind fd with flag, the number of hand_fd, and our own arguments. The name of
 * the process becomes a number, which the new image mends. Returns only if it fails. */
void upgrade_exec(const struct master *m, int fd, const char *flag, int hand_fd);
/* The same, with all that is ours. Returns only if it fails: err, and all is as it was. */
void upgrade_hand_over(struct master *m, int fd, const char *flag, char err[ERRLEN]);
void upgrade_unhand(struct handover **h);
/* The child that fills a new segment has ended. */
void upgrade_restored(struct master *m, int status);

#endif
