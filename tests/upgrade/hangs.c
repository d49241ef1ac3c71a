/* hangs.c -- a program that never answers. For tests/slow/test_upgrade.py. */
#include <unistd.h>

int main(void)
{
	for (;;)
		pause();
}
