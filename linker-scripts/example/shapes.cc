// A C++ library: exceptions through its own frames, virtual functions, constructors of static objects with an order.
#include <stdio.h>

namespace {

int order;

struct Static {
	int place;
	Static() : place(++order) {}
};

Static first __attribute__((init_priority(200)));
Static second __attribute__((init_priority(300)));

struct Shape {
	virtual int area() const = 0;
};

struct Square : Shape {
	int side;
	explicit Square(int side) : side(side) {}
	int area() const override
	{
		if (side < 0)
			throw side;
		return side * side;
	}
};

struct Guard {
	~Guard() { puts("shapes: unwound"); }
};

int area_of(const Shape &shape)
{
	Guard guard;
	return shape.area();
}

} // namespace

extern "C" void shapes_show()
{
	printf("shapes: constructors %d %d\n", first.place, second.place);
	printf("shapes: area %d\n", area_of(Square(3)));
	try {
		area_of(Square(-2));
	} catch (int side) {
		printf("shapes: caught %d\n", side);
	}
}
