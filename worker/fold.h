/*
 * fold.h -- texts without upper and lower case: Latin, Greek and Cyrillic letters of up
 * to two bytes in UTF-8, which is every letter in the names of countries, cities and
 * most providers. Folding never changes a text's length. Other letters stay as they are.
 */
#ifndef PEERSCOPE_WORKER_FOLD_H
#define PEERSCOPE_WORKER_FOLD_H

/* In place; text is valid UTF-8. */
void fold_text(char *text);

#endif
