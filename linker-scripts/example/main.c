/* Uses both libraries. */
void counter_show(void);
void shapes_show(void);

int main(void)
{
	counter_show();
	shapes_show();
}
