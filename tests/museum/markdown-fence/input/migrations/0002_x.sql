```sql
select 1;
```
