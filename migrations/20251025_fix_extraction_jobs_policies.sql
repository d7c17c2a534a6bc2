-- kb.object_extraction_jobs has had row security since 0001, and no policy: the application saw no
-- row of it. One policy for each command, so that each can be changed alone.

create policy object_extraction_jobs_select on kb.object_extraction_jobs for select to app_rls
    using (
        organization_id = (select kb.current_organization())
        and ((select kb.current_project()) is null or project_id = (select kb.current_project()))
    );

create policy object_extraction_jobs_insert on kb.object_extraction_jobs for insert to app_rls
    with check (
        organization_id = (select kb.current_organization())
        and ((select kb.current_project()) is null or project_id = (select kb.current_project()))
    );

create policy object_extraction_jobs_update on kb.object_extraction_jobs for update to app_rls
    using (
        organization_id = (select kb.current_organization())
        and ((select kb.current_project()) is null or project_id = (select kb.current_project()))
    )
    with check (
        organization_id = (select kb.current_organization())
        and ((select kb.current_project()) is null or project_id = (select kb.current_project()))
    );

create policy object_extraction_jobs_delete on kb.object_extraction_jobs for delete to app_rls
    using (
        organization_id = (select kb.current_organization())
        and ((select kb.current_project()) is null or project_id = (select kb.current_project()))
    );
