select true as "some" from app.a;
